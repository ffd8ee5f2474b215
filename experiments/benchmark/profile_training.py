"""Where the time of a train step goes, here and in PyTorch: the same ViT, the same batch, AdamW.

    pip install -e '.[benchmarks]'
    python experiments/benchmark/profile_training.py

Takes some steps of each on a CPU under its framework's own profiler, one process a framework and size, and writes
profile_training.csv beside this script. PyTorch's model is the eager one, each of whose operations has a name,
with its own fused attention and with attention as products of matrices.
"""
import functools
import re

import profile_step
import side_by_side

from vit_jax import cpu
from vit_jax.benchmarks import setting as setting_lib

STEPS, ROUNDS = 4, 2
PRODUCTS, BETWEEN, GELU, NORM, ELSE = PARTS = ('products with weights', 'attention between tokens', 'GELU', 'LayerNorm',
                                               'types, sums, optimizer')
# The first that fits the name of one of PyTorch's operations counts.
THEIRS = {BETWEEN: 'attention|bmm|softmax', GELU: 'gelu', NORM: 'layer_norm', PRODUCTS: 'mm$|convolution'}


def part_here(name, names):
  """What one of our operations is counted as."""
  module = names.get(name, ('', ''))[1] + '/'
  if re.search(r'LayerNorm_\d|encoder_norm', module):
    return NORM
  if 'MultiHead' in module and not re.search(r'/(query|key|value|out)/', module):
    return BETWEEN
  if profile_step.kind_of(name, names) == 'products':
    return PRODUCTS
  return GELU if 'MlpBlock' in module and not re.search(r'/Dense_\d/', module) else ELSE


def part_in_pytorch(name):
  """What one of PyTorch's operations is counted as."""
  return next((part for part, pattern in THEIRS.items() if re.search(pattern, name)), ELSE)


def setting_of(framework, way, size):
  """A training of a model of six blocks, in batches of 64."""
  return setting_lib.Setting('train', framework=framework, way=way, depth=6, batch_size=64, **size)


def ours(size):
  """-> seconds of STEPS steps without the profiler, with it, and then of each part: {part: seconds}."""
  from vit_jax.benchmarks import ours as works
  return side_by_side.our_parts(works.make(setting_of('vit_jax', 'step', size)), STEPS, part_here)


def pytorchs(way, size):
  """The same of PyTorch."""
  if size['dtype'] == 'float32':
    cpu.keep_pages()  # It trains faster so, and more slowly in bfloat16.
  from vit_jax.benchmarks import twin
  work = twin.make(setting_of('torch', way, size))
  return side_by_side.pytorchs_parts(work, STEPS, part_in_pytorch, lambda name: name.startswith('aten::'))


if __name__ == '__main__':
  side_by_side.compare('profile_training.csv', ROUNDS,
                       {'vit_jax': (ours, cpu.keep_pages), 'PyTorch': (functools.partial(pytorchs, 'eager'), None),
                        'PyTorch, attention as products': (functools.partial(pytorchs, 'eager math'), None)},
                       (*PARTS, profile_step.NOTHING), STEPS)
