"""Prints results as the table that README shows: mean and spread over seeds, one row a recipe.

    python experiments/table.py experiments/foundation/results.csv experiments/tiny_imagenet/results.csv
"""
import csv
import pathlib
import statistics
import sys


def spread(values):
  """Per cent as mean ± sample standard deviation; a single value has no spread."""
  values = [100 * float(value) for value in values if value]
  if not values:
    return '–'
  mean = f'{statistics.mean(values):.1f}'
  return f'{mean} ± {statistics.stdev(values):.1f}' if len(values) > 1 else mean


def table(*paths):
  """The lines of the Markdown table, recipes in the order of the files."""
  rows = [row for path in paths for row in csv.DictReader(pathlib.Path(path).read_text('utf-8').splitlines())]
  lines = ['| recipe | parameters | seeds | test accuracy, % | with its mirror image, % | time a run | Python, jax |',
           '|---|---|---|---|---|---|---|']
  for recipe in dict.fromkeys(row['recipe'] for row in rows):
    group = [row for row in rows if row['recipe'] == recipe]
    seconds = statistics.mean(float(row['seconds']) for row in group)
    time = f'{seconds / 60:.1f} min' if seconds >= 60 else f'{seconds:.0f} s'
    lines.append(f'| `{recipe}` | {int(group[0]["num_params"]):,} | {len(group)} | '
                 f'{spread(row["test_accuracy"] for row in group)} | '
                 f'{spread(row["test_accuracy_flip"] for row in group)} | {time} | '
                 f'{group[0]["python"]}, {group[0]["jax"]} |')
  return lines


if __name__ == '__main__':
  print('\n'.join(table(*sys.argv[1:])))
