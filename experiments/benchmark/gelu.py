"""What answers in bfloat16 lose by rounding, and by GELU itself in place of its approximation by tanh.

    python experiments/benchmark/gelu.py

Answers 4,096 test pictures of CIFAR-10 with the weights that are shipped, trained with the approximation, in both types
and with both functions, on a CPU; writes gelu.csv.
"""
import csv
import pathlib
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from configs import cifar10
from vit_jax import augment
from vit_jax import cpu
from vit_jax.data import load as load_lib
from vit_jax.models import gelu as gelu_lib
from vit_jax.weights import load

PICTURES, BATCH = 4096, 256
HERE = pathlib.Path(__file__).parent


def logits_of(opened, images, dtype, kind):
  """f32[PICTURES,K] of a model that computes in `dtype`, with one kind of GELU."""
  gelu = lambda x, _: gelu_lib.of_float32(x, kind == 'tanh')
  model = opened.model.clone(dtype=dtype)

  @jax.jit
  def answer(params, images):
    return model.apply({'params': params}, augment.normalize(images), train=False).astype(jnp.float32)

  with mock.patch.object(gelu_lib, 'gelu', gelu):
    compiled = cpu.compile_fast(answer, opened.params, images[:BATCH])
  return np.concatenate([compiled(opened.params, images[i:i + BATCH]) for i in range(0, PICTURES, BATCH)])


def main():
  """Prints and writes how far each way is from float32 with the approximation, and how many answers are right."""
  opened = load.open_model(load.SHIPPED / 'cifar10.safetensors')
  config = cifar10.get_config()
  cache = pathlib.Path('~/.cache/vit_jax').expanduser()
  data = load_lib.load('cifar10', data_dir=config.data.dir, cache_dir=cache,
                       classes=(), image_size=opened.image_size, val_fraction=config.data.val_fraction)
  pictures = data.test.read(np.arange(PICTURES))
  found = {(dtype, kind): logits_of(opened, pictures['image'], jnp.dtype(dtype), kind)
           for dtype in ('float32', 'bfloat16') for kind in ('tanh', 'erf')}
  reference = found['float32', 'tanh']
  rows = [{'type': dtype, 'gelu': kind, 'pictures': PICTURES,
           'distance_rms': f'{np.sqrt(np.square(logits - reference).mean()):.5f}',
           'distance_most': f'{np.abs(logits - reference).max():.3f}',
           'answers_changed': (logits.argmax(1) != reference.argmax(1)).sum(),
           'accuracy': f'{(logits.argmax(1) == pictures["label"]).mean():.4f}'}
          for (dtype, kind), logits in found.items()]
  with (HERE / 'gelu.csv').open('w', newline='', encoding='utf-8') as file:
    writer = csv.DictWriter(file, rows[0], lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
  print(*rows, sep='\n')


if __name__ == '__main__':
  main()
