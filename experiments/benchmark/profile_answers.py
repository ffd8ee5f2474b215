"""Where the time of an answer goes, here and in PyTorch: the same ViT, the same batch.

    pip install -e '.[benchmarks]'
    python experiments/benchmark/profile_answers.py

Runs some batches of each on a CPU under its framework's own profiler, one process a framework and size, and writes
profile_answers.csv beside this script. PyTorch's model is the compiled one with frozen weights.
"""
import re

import profile_step
import side_by_side

from vit_jax import cpu
from vit_jax.benchmarks import setting as setting_lib

BATCHES, ROUNDS = 20, 2
PRODUCTS, BETWEEN, ELSE = 'products with weights', 'attention between tokens', 'LayerNorm, types, pictures'


def part_here(name, names):
  """What one of our operations is counted as; oneDNN adds residuals, and computes GELU, inside the products."""
  module = names.get(name, ('', ''))[1] + '/'
  if 'MultiHead' in module and not re.search(r'(query|key|value|out)/', module):
    return BETWEEN
  return PRODUCTS if profile_step.kind_of(name, names) == 'products' and 'LayerNorm' not in module else ELSE


def part_in_pytorch(name):
  """What one of PyTorch's operations is counted as; GELU is inside the products there too, residuals in LayerNorm."""
  if 'attention' in name:
    return BETWEEN
  return PRODUCTS if re.search('linear|convolution', name) else ELSE


def setting_of(framework, size):
  """The answers of models of six blocks, in batches of 64, each framework's fastest way."""
  way = 'evaluation' if framework == 'vit_jax' else 'frozen'
  return setting_lib.Setting('predict', framework=framework, way=way, depth=6, batch_size=64, **size)


def ours(size):
  """-> seconds of BATCHES batches without the profiler, with it, and then of each part: {part: seconds}."""
  from vit_jax.benchmarks import ours as works
  return side_by_side.our_parts(works.make(setting_of('vit_jax', size)), BATCHES, part_here)


def pytorchs(size):
  """The same of PyTorch."""
  from torch._inductor import config

  from vit_jax.benchmarks import twin
  config.cpp.enable_kernel_profile = True  # Otherwise what the compiler wrote has no names.
  work = twin.make(setting_of('torch', size))
  return side_by_side.pytorchs_parts(work, BATCHES, part_in_pytorch,
                                     lambda name: name.startswith(('aten::', 'mkl', 'graph_')))


if __name__ == '__main__':
  side_by_side.compare('profile_answers.csv', ROUNDS,
                       {'vit_jax': (ours, cpu.keep_pages), 'PyTorch': (pytorchs, cpu.keep_pages)},
                       (PRODUCTS, BETWEEN, ELSE, profile_step.NOTHING), BATCHES)
