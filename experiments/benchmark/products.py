"""The products of an answer's MLPs alone, with what oneDNN computes inside them, here and in PyTorch, in bfloat16.

    pip install -e '.[benchmarks]'
    python experiments/benchmark/products.py

Multiplies 4,096 tokens, a batch of 64 pictures with 64 each, with the two matrices of an MLP, adds the bias, and after
the first applies nothing, GELU's approximation by tanh, or GELU itself. PyTorch has each matrix as it comes, and laid
out beforehand, which is what it does with frozen weights. One process a framework, in turns; writes products.csv.
"""
from concurrent import futures
import csv
import functools
import multiprocessing
import pathlib
import statistics
import time

import numpy as np

from vit_jax import cpu
from vit_jax import machine

TOKENS, LAYERS, BATCHES, ROUNDS = 4096, 6, 20, 7
WIDTHS = (128, 192, 384)
AFTER = ('nothing', 'tanh', 'erf')
OURS, PLAIN, PACKED = 'vit_jax', 'PyTorch', 'PyTorch, laid out'
HERE = pathlib.Path(__file__).parent


def cases():
  """(inputs, outputs, what comes after) of each product: [(int, int, str)]."""
  return [case for width in WIDTHS
          for case in [*((width, 4 * width, after) for after in AFTER), (4 * width, width, 'nothing')]]


def timed(multiply):
  """Milliseconds that one of LAYERS products takes."""
  multiply()
  started = time.perf_counter()
  for _ in range(BATCHES):
    multiply()
  return 1e3 * (time.perf_counter() - started) / BATCHES / LAYERS


def drawn(inputs, outputs):
  """Tokens f32[TOKENS,inputs] and so many matrices f32[inputs,outputs] as there are layers."""
  rng = np.random.default_rng(0)
  return (rng.normal(size=(TOKENS, inputs)).astype(np.float32),
          [rng.normal(0, inputs**-.5, (inputs, outputs)).astype(np.float32) for _ in range(LAYERS)])


def ours(inputs, outputs, after):
  """-> {OURS: ms}."""
  import jax
  import jax.numpy as jnp

  from vit_jax.models import gelu

  def multiply(tokens, matrices, bias):
    found = [tokens @ matrix + bias for matrix in matrices]
    return found if after == 'nothing' else [gelu.of_float32(each, after == 'tanh') for each in found]

  tokens, matrices = jax.tree.map(functools.partial(jnp.asarray, dtype=jnp.bfloat16), drawn(inputs, outputs))
  bias = jnp.zeros(outputs, jnp.bfloat16)
  compiled = cpu.compile_fast(jax.jit(multiply), tokens, matrices, bias)
  return {OURS: timed(lambda: jax.block_until_ready(compiled(tokens, matrices, bias)))}


def pytorchs(inputs, outputs, after):
  """-> {PLAIN: ms, PACKED: ms}; each by PyTorch's own operations, which its compiler calls as well."""
  import torch
  from torch.nn import functional
  torch.set_num_threads(machine.num_cores())
  tokens, matrices = drawn(inputs, outputs)
  tokens, bias = torch.from_numpy(tokens).bfloat16(), torch.zeros(outputs).bfloat16()
  matrices = [torch.from_numpy(matrix.T.copy()).bfloat16() for matrix in matrices]
  packed = [torch.ops.mkldnn._reorder_linear_weight(matrix, TOKENS) for matrix in matrices]
  name, kind = ('none', '') if after == 'nothing' else ('gelu', {'tanh': 'tanh', 'erf': 'none'}[after])
  gelu = functools.partial(functional.gelu, approximate=kind) if kind else lambda x: x
  with torch.no_grad():
    return {PLAIN: timed(lambda: [gelu(functional.linear(tokens, matrix, bias)) for matrix in matrices]),
            PACKED: timed(lambda: [torch.ops.mkldnn._linear_pointwise(tokens, matrix, bias, name, [], kind)
                                   for matrix in packed])}


def main():
  """Measures both frameworks in turns, prints medians over the rounds and writes all numbers."""
  rows = []
  for number in range(ROUNDS):
    for measure in (ours, pytorchs)[::-1 if number % 2 else 1]:
      with futures.ProcessPoolExecutor(1, multiprocessing.get_context('spawn'), initializer=cpu.keep_pages) as pool:
        for inputs, outputs, after in cases():
          found = pool.submit(measure, inputs, outputs, after).result()
          rows += [{'round': number, 'inputs': inputs, 'outputs': outputs, 'after': after, 'framework': name,
                    'ms': round(ms, 3)} for name, ms in found.items()]
    print(f'round {number + 1} of {ROUNDS}', flush=True)
  with (HERE / 'products.csv').open('w', newline='', encoding='utf-8') as file:
    writer = csv.DictWriter(file, rows[0], lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
  print(f'\n| inputs, outputs | after it | {OURS}, ms | {PLAIN} | {PACKED} |\n|---|---|---|---|---|')
  for case in cases():
    medians = [statistics.median(row['ms'] for row in rows
                                 if (row['inputs'], row['outputs'], row['after'], row['framework']) == (*case, name))
               for name in (OURS, PLAIN, PACKED)]
    print('| {}, {} | {} | {:.2f} | {:.2f} | {:.2f} |'.format(*case, *medians))


if __name__ == '__main__':
  main()
