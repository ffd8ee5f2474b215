"""Profiles of frameworks that do the same, in turns: what profile_answers and profile_training share."""
import collections
from concurrent import futures
import itertools
import multiprocessing
import statistics

import profile_step

from vit_jax.benchmarks import child


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


def compare(file, rounds, sizes, profiles, parts, count):
  """Runs `profiles`, {framework: (function, process initializer)}, for each of `sizes` = (name, values), in turns.

  A function takes a size and returns what `our_parts` does. Writes all numbers beside this script and prints the
  medians over the rounds, in milliseconds a step; the rest of `wall` is the last one of `parts`.
  """
  name, values = sizes
  rows = []
  for number, value in itertools.product(range(rounds), values):
    for framework, (profile, start) in list(profiles.items())[::-1 if number % 2 else 1]:
      with futures.ProcessPoolExecutor(1, multiprocessing.get_context('spawn'), initializer=start) as pool:
        alone, wall, table = pool.submit(profile, value).result()
      table[parts[-1]] = wall - sum(table.values())
      print(f'round {number}, {name} {value}, {framework}: {1e3 * alone / count:.1f} ms, {1e3 * wall / count:.1f} '
            'under the profiler', flush=True)
      rows += [{'round': number, name: value, 'framework': framework, 'part': part,
                'ms': round(1e3 * seconds / count, 3)} for part, seconds in table.items()]
  profile_step.write(profile_step.HERE / file, rows)
  print(f'\n| {name} | part | {" | ".join(f"{framework}, ms" for framework in profiles)} |')
  print('|---' * (2 + len(profiles)) + '|')
  for value, part in itertools.product(values, parts):
    medians = [statistics.median([row['ms'] for row in rows if (row[name], row['part'], row['framework']) == (
        value, part, framework)] or [0]) for framework in profiles]
    print(f'| {value} | {part} | {" | ".join(f"{median:.1f}" for median in medians)} |')
