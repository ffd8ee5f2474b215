"""What it takes and saves to begin a train step only when the one before has ended.

    python experiments/benchmark/memory.py

Trains for a few steps, in a process of its own each time, with two steps in flight and with one, by turns, and writes
memory.csv beside this script: time of a step, the most memory that the process had, and what the step asks for.
"""
from concurrent import futures
import csv
import multiprocessing
import pathlib

from vit_jax.benchmarks import child
from vit_jax.benchmarks import setting as setting_lib

STEPS, TURNS = 8, 3
IN_FLIGHT = (2, 1, 1, 2)
RECIPES = ('cifar_catdog', 'tiny_imagenet_10h')
SIZES = {'width': 192, 'tokens': 256, 'depth': 6, 'batch_size': 64}


def settings():
  """What is measured: its name -> Setting."""
  import importlib

  from vit_jax import config as config_lib
  kind = dict(work='train', dtype='bfloat16', way='step')
  found, cache = {}, str(pathlib.Path('~/.cache/vit_jax').expanduser())
  for recipe in RECIPES:
    config = importlib.import_module(f'configs.{recipe}').get_config()
    name = f'configs/{recipe}.py, batch {config.batch_size}, bfloat16'
    found[name] = setting_lib.Setting(**kind, recipe=config_lib.to_json(config), cache_dir=cache)
  made_up = setting_lib.Setting(**kind, **SIZES)
  return {**found, f'{made_up.sizes}, bfloat16': made_up}


def measure(setting, in_flight):
  """-> (ms of a step in each turn, MiB at most, MiB that the compiled step asks for)."""
  from vit_jax import cpu
  cpu.keep_pages()
  from vit_jax import machine
  from vit_jax.benchmarks import ours
  work = ours.Training(setting)
  work.alone = in_flight == 1
  work.run(child.UNTIMED)
  return ([1e3 * child.timed(work, STEPS) / STEPS for _ in range(TURNS)], machine.peak_memory() / 2**20,
          work.compiled_memory() / 2**20)


def main():
  """Measures each setting in both ways."""
  spawn, rows = multiprocessing.get_context('spawn'), []
  for name, setting in settings().items():
    ways = {in_flight: [] for in_flight in IN_FLIGHT}
    for in_flight in IN_FLIGHT:
      with futures.ProcessPoolExecutor(1, spawn, initializer=child.follow) as process:
        ways[in_flight].append(process.submit(measure, setting, in_flight).result())
    for in_flight, measured in ways.items():
      rows.append({'setting': name, 'steps_in_flight': in_flight,
                   'ms_a_step': ' '.join(f'{ms:.1f}' for times, _, _ in measured for ms in times),
                   'peak_mib': ' '.join(f'{peak:.0f}' for _, peak, _ in measured),
                   'compiled_mib': round(measured[0][2])})
      print(rows[-1], flush=True)
  with pathlib.Path(__file__).with_name('memory.csv').open('w', newline='', encoding='utf-8') as file:
    writer = csv.DictWriter(file, list(rows[0]), lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)


if __name__ == '__main__':
  main()
