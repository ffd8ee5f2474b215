"""Prints a study's results.csv as the table that README shows: mean and spread over seeds, one row a recipe.

    python experiments/table.py experiments/foundation/results.csv
"""
import csv
import itertools
import statistics
import sys


def spread(values):
  """Per cent as mean ± sample standard deviation; a single value has no spread."""
  values = [100 * float(value) for value in values if value]
  if not values:
    return '–'
  mean = f'{statistics.mean(values):.1f}'
  return f'{mean} ± {statistics.stdev(values):.1f}' if len(values) > 1 else mean


def table(path):
  """The lines of the Markdown table, recipes in the order of the file."""
  with open(path, encoding='utf-8') as f:
    rows = list(csv.DictReader(f))
  lines = ['| recipe | parameters | seeds | test accuracy, % | with its mirror image, % | time a run | Python, jax |',
           '|---|---|---|---|---|---|---|']
  for recipe, group in itertools.groupby(rows, key=lambda row: row['recipe']):
    group = list(group)
    seconds = statistics.mean(float(row['seconds']) for row in group)
    time = f'{seconds / 60:.1f} min' if seconds >= 60 else f'{seconds:.0f} s'
    lines.append(f'| `{recipe}` | {int(group[0]["num_params"]):,} | {len(group)} | '
                 f'{spread(row["test_accuracy"] for row in group)} | '
                 f'{spread(row["test_accuracy_flip"] for row in group)} | {time} | '
                 f'{group[0]["python"]}, {group[0]["jax"]} |')
  return lines


if __name__ == '__main__':
  print('\n'.join(table(sys.argv[1])))
