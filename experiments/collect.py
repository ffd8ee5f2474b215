"""Adds finished runs to a study's results.csv: one row a run, with all that is needed to judge or repeat it.

    python experiments/collect.py experiments/foundation/results.csv runs/*
"""
import csv
import json
import pathlib
import sys

COLUMNS = ['recipe', 'seed', 'test_accuracy', 'test_accuracy_flip', 'test_count', 'val_accuracy', 'train_count',
           'seconds', 'cpu_seconds', 'peak_memory', 'energy_kwh', 'steps', 'num_params', 'dtype', 'command', 'commit',
           'processor', 'cores', 'python', 'jax', 'starts', 'weights_sha256']


def row(folder):
  """One finished run as a row: what result.json and environment.json say."""
  result = json.loads((folder / 'result.json').read_text())
  starts = json.loads((folder / 'environment.json').read_text())
  first = starts[0]
  # Where the folder was is nobody's business, and changes nothing.
  command = ' '.join(word for word in first['command'].split() if not word.startswith('--workdir'))
  found = {**result, **first, 'command': command, 'jax': first['versions']['jax'], 'starts': len(starts),
           'recipe': folder.name.rsplit('-seed', 1)[0]}
  digits = lambda key: 7 if key == 'energy_kwh' else 4
  return {key: round(value, digits(key)) if isinstance(value := found.get(key, ''), float) else value
          for key in COLUMNS}


def main(table, *folders):
  """Writes the table anew, old rows first; a run that is in it already is replaced."""
  table = pathlib.Path(table)
  rows = list(csv.DictReader(table.open(encoding='utf-8'))) if table.exists() else []
  new = [row(pathlib.Path(folder)) for folder in folders if (pathlib.Path(folder) / 'result.json').exists()]
  names = {(r['recipe'], str(r['seed'])) for r in new}
  rows = [r for r in rows if (r['recipe'], r['seed']) not in names] + new
  with table.open('w', newline='', encoding='utf-8') as f:
    writer = csv.DictWriter(f, COLUMNS, lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)


if __name__ == '__main__':
  main(*sys.argv[1:])
