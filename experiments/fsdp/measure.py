"""What each of eight devices must hold to train the paper's largest models, whole or split: results.csv.

    python experiments/fsdp/measure.py

The step is compiled for eight devices, which are faked on the processor, and says itself what it needs; nothing is run.
"""
import csv
import os
import pathlib
import time

os.environ['XLA_FLAGS'] = '--xla_force_host_platform_device_count=8'

import jax

from configs import common
from vit_jax import job as job_lib
from vit_jax import machine
from vit_jax.benchmarks import ours
from vit_jax.models import variants
from vit_jax.models import vit

SIZE, CLASSES, BATCH = 224, 1000, 64


def job_of(variant, fsdp):
  """A job on pictures that nobody reads."""
  config = common.get_config()
  config.fsdp, config.batch_size, config.data.image_size = fsdp, BATCH, SIZE
  model = variants.build(variant, num_classes=CLASSES, image_size=SIZE)
  return job_lib.make(config, ours.made_up_data(config, CLASSES), model)


def main():
  """Measures each model both ways."""
  rows = []
  for variant in ('ViT-L_16', 'ViT-H_14'):
    for fsdp in (False, True):
      job, started = job_of(variant, fsdp), time.monotonic()
      compiled = job.compiled_train_step(job.abstract_state, SIZE)
      stats = compiled.memory_analysis()
      rows.append({
          'variant': variant, 'parameters': vit.num_params(job.abstract_state.params), 'batch_per_device': BATCH // 8,
          'dtype': 'float32', 'fsdp': fsdp, 'state_gib': round(stats.alias_size_in_bytes / 2**30, 3),
          'besides_gib': round(stats.temp_size_in_bytes / 2**30, 3),
          'all_gib': round(machine.memory_of(compiled) / 2**30, 3),
          'compile_seconds': round(time.monotonic() - started), 'jax': jax.__version__})
      print(rows[-1], flush=True)
  with (pathlib.Path(__file__).parent / 'results.csv').open('w', newline='', encoding='utf-8') as file:
    writer = csv.DictWriter(file, rows[0], lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)


if __name__ == '__main__':
  main()
