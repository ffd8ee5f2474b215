"""Profiles of frameworks that do the same, in turns: what profile_answers and profile_training share."""
import collections
from concurrent import futures
import itertools
import multiprocessing
import statistics

import profile_step

from vit_jax.benchmarks import child

# What the settings that are compared have in common, {field: value}.
SIZES = [{'dtype': dtype, 'tokens': tokens, 'width': width}
         for dtype, tokens in itertools.product(('bfloat16', 'float32'), (64, 256)) for width in (128, 192, 384)]
ALONE = 'all of it, without the profiler'


def our_parts(work, count, part_of):
  """Seconds of `count` steps of ours without the profiler, with it, and of each part: {part_of(operation): seconds}.

  `part_of` is given the operation's name and what `profile_step.names_of` says of the program.
  """
  names = profile_step.names_of(work.step.as_text())
  alone, wall, found = profile_step.traced(work, count)
  table = collections.Counter()
  for name, seconds in found.items():
    table[part_of(name, names)] += seconds
  return alone, wall, table


def pytorchs_parts(work, count, part_of, counts):
  """The same of PyTorch under its own profiler; `part_of` is given the operation's name.

  `counts` says of an operation's name whether it counts; the others are those that call them.
  """
  from torch import profiler
  work.run(3)
  alone = child.timed(work, count)
  with profiler.profile(activities=[profiler.ProfilerActivity.CPU]) as found:
    wall = child.timed(work, count)
  table = collections.Counter()
  for event in found.key_averages():
    if counts(event.key):
      table[part_of(event.key)] += event.self_cpu_time_total / 1e6
  return alone, wall, table


def compare(file, rounds, profiles, parts, count):
  """Runs `profiles`, {framework: (function, process initializer)}, for each of SIZES, in turns.

  A function takes one of them and returns what `our_parts` does. Writes all numbers beside this script after each
  round, and prints the medians over the rounds, in milliseconds a step; the rest of `wall` is the last of `parts`.
  """
  rows = []
  for number in range(rounds):
    for size in SIZES:
      for framework, (profile, start) in list(profiles.items())[::-1 if number % 2 else 1]:
        with futures.ProcessPoolExecutor(1, multiprocessing.get_context('spawn'), initializer=start) as pool:
          alone, wall, table = pool.submit(profile, size).result()
        table[parts[-1]], table[ALONE] = wall - sum(table.values()), alone
        print(f'round {number}, {named(size)}, {framework}: {1e3 * alone / count:.1f} ms, {1e3 * wall / count:.1f} '
              'under the profiler', flush=True)
        rows += [{'round': number, **size, 'framework': framework, 'part': part,
                  'ms': round(1e3 * seconds / count, 3)} for part, seconds in table.items()]
    profile_step.write(profile_step.HERE / file, rows)
  print(f'\n| size | part | {" | ".join(f"{framework}, ms" for framework in profiles)} |')
  print('|---' * (2 + len(profiles)) + '|')
  for size, part in itertools.product(SIZES, (*parts, ALONE)):
    medians = [statistics.median([row['ms'] for row in rows if row.items() >= {
        **size, 'part': part, 'framework': framework}.items()] or [0]) for framework in profiles]
    print(f'| {named(size)} | {part} | {" | ".join(f"{median:.1f}" for median in medians)} |')


def named(size):
  """A size for a person."""
  return ', '.join(f'{name} {value}' for name, value in size.items())
