"""Would gradient checkpointing let larger models train in the same memory, beside batches cut into parts?

    python experiments/benchmark/checkpointing.py

Compiles the train step of published models for a batch of 32 pictures as it is, cut into 32 parts
(`--config.accum_steps=32`), and with the activations of each block computed twice in place of kept; in the order of
operations that vit_jax asks XLA for, which needs little memory, and whole batches in XLA's default one as well. Asks
each what memory it needs, runs nothing, and writes checkpointing.csv beside this script.
"""
import csv
import pathlib

from flax import linen as nn
import numpy as np

from configs import common
from vit_jax import cpu
from vit_jax import job as job_lib
from vit_jax import machine
from vit_jax.benchmarks import ours
from vit_jax.models import variants
from vit_jax.models import vit

SIZE, CLASSES, BATCH = 224, 1000, 32
Block = vit.EncoderBlock
ORDER = 'xla_cpu_scheduler_type'
LITTLE_MEMORY, DEFAULT = cpu._OPTIONS[ORDER], 'CPU_SCHEDULER_TYPE_DEFAULT'


class Twice(Block):
  """A block whose activations are forgotten, and computed once more for the gradient."""

  @nn.compact
  def __call__(self, tokens, *, train):
    fields = {name: getattr(self, name) for name in ('num_heads', 'mlp_dim', 'dropout_rate', 'attention_dropout_rate',
                                                     'dtype', 'gelu', 'norm_eps')}
    run = nn.remat(lambda _, tokens: Block(**fields, name='block')(tokens, train=train))
    return run(self, tokens)


def compiled(variant, parts):
  """The step of a model, for a batch in so many parts."""
  config = common.get_config()
  config.batch_size, config.accum_steps, config.data.image_size = BATCH, parts, SIZE
  model = variants.build(variant, num_classes=CLASSES, image_size=SIZE, dtype=np.dtype('bfloat16'))
  job = job_lib.make(config, ours.made_up_data(config, CLASSES), model)
  return job.compiled_train_step(job.abstract_state, SIZE)


def main():
  """Measures each model in each way."""
  rows = []
  for variant in ('ViT-S_16', 'ViT-B_16', 'ViT-L_16'):
    for way, block, parts, order in (
        ('as it is', Block, 1, LITTLE_MEMORY), ('in 32 parts', Block, 32, LITTLE_MEMORY),
        ('checkpointed', Twice, 1, LITTLE_MEMORY), ('both', Twice, 32, LITTLE_MEMORY),
        ('as it is, default order', Block, 1, DEFAULT), ('checkpointed, default order', Twice, 1, DEFAULT)):
      vit.EncoderBlock, cpu._OPTIONS[ORDER] = block, order
      step = compiled(variant, parts)
      rows.append({'model': variant, 'way': way, 'gib': round(machine.memory_of(step) / 2**30, 2)})
      print(rows[-1], flush=True)
  with (pathlib.Path(__file__).parent / 'checkpointing.csv').open('w', newline='', encoding='utf-8') as file:
    writer = csv.DictWriter(file, list(rows[0]), lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)


if __name__ == '__main__':
  main()
