"""What a start spends its time on: a training up to its first step, and an answer to one picture."""
import json
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
from PIL import Image

from vit_jax import progress
from vit_jax.benchmarks.turns import spread
from vit_jax.errors import BadInput

# Packages whose import takes less than so many seconds are not named.
LEAST = 0.05


def commands(folder, recipe, weights, cache_dir):
  """The commands that are started: {name: number of the start -> [module, argument, …]}; their files are in `folder`.

  `recipe` is a config as JSON, and `weights` what vit_jax.predict takes.
  """
  path, picture = folder / 'recipe.py', folder / 'picture.png'
  path.write_text(f'from vit_jax import config\n\n\ndef get_config():\n  return config.from_json({recipe!r})\n',
                  encoding='utf-8')
  Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(picture)
  return {'train': lambda number: ['vit_jax.main', f'--config={path}', f'--workdir={folder}/run{number}',
                                   f'--cache_dir={cache_dir}'],
          'predict': lambda _: ['vit_jax.predict', weights, str(picture), f'--cache_dir={cache_dir}']}


def start(out, command, *, trace=False):
  """Starts a command once: -> ({part: seconds} in order, all of them from the start on; its standard error).

  With `trace` that holds what Python says of each import, and takes longer. Raises BadInput where the command says so.
  """
  launched = time.time()
  done = subprocess.run([sys.executable, *(['-X', 'importtime'] if trace else []), '-m', 'vit_jax.benchmarks.started',
                         str(out), repr(launched), *command], capture_output=True, text=True, check=False)
  ended = time.time()
  lines = done.stderr.splitlines()
  if wrong := [line for line in lines if line.startswith('error: ')]:
    raise BadInput(wrong[-1].removeprefix('error: '))
  parts = json.loads(out.read_text(encoding='utf-8')) if out.exists() else {}
  if done.returncode or not parts:
    raise RuntimeError('\n'.join([f'{command[0]} failed', *lines[-20:]]))
  if 'first step' not in parts:
    parts['end'] = ended - launched - sum(parts.values())
  return parts, done.stderr


def imports(text):
  """Which packages are imported in which part: the standard error of a traced start -> {part: {package: seconds}}.

  Each module's own time counts for its package, what it imports for others; a part's largest come first.
  """
  found, now = {}, {}
  for line in text.splitlines():
    if match := re.match(r'import time:\s+(\d+) \|\s+\d+ \|\s*([\w.]+)', line):
      package = match[2].split('.')[0]
      now[package] = now.get(package, 0.0) + int(match[1]) / 1e6
    elif line.startswith('part: '):
      found[line.removeprefix('part: ')] = dict(sorted(now.items(), key=lambda item: -item[1]))
      now = {}
  return found


def measure(recipe, weights, cache_dir, rounds):
  """Starts both commands in turns: -> {name: {'parts': {part: seconds, over the rounds}, 'first', 'imports'}}.

  'first' is a start before the rounds, which may find nothing in the cache. All others find what it has left there.
  """
  with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    ways = commands(folder, recipe, weights, cache_dir)
    once = lambda name, number, **options: start(folder / f'{name}{number}.json', ways[name](number), **options)
    found = {name: {} for name in ways}
    with progress.bar(total=(rounds + 2) * len(ways), desc='starting', unit='starts') as bar:
      for number in range(rounds + 2):
        for name, of_it in found.items():
          parts, text = once(name, number, trace=number == 1)
          if number == 0:
            of_it['first'] = parts
          elif number == 1:  # Traced, so that its times do not count.
            of_it.update(imports=imports(text), parts={part: [] for part in parts})
          else:
            for part, seconds in parts.items():
              of_it['parts'][part].append(seconds)
          bar.update(1)
  return found


def describe(found):
  """What `measure` found as a screen of text."""
  lines, what = [], {'train': 'a training, to the end of its first step', 'predict': 'an answer to one picture'}
  for name, of_it in found.items():
    totals = [sum(seconds) for seconds in zip(*of_it['parts'].values(), strict=True)]
    lines += [f'{what[name]}: {spread(totals, "{:.2f}")} s; the start before these took '
              f'{sum(of_it["first"].values()):.2f} s', '', f'{"":<18}{"s, median and range":<26}{"imports, s"}']
    for part, seconds in of_it['parts'].items():
      packages = [f'{package} {time:.2f}' for package, time in of_it['imports'].get(part, {}).items() if time >= LEAST]
      text = progress.table([('', ', '.join(packages))]).strip()
      lines.append(f'{part:<18}{spread(seconds, "{:.2f}"):<26}' + text.replace('\n', '\n' + ' ' * 34))
    slowest = max(of_it['parts'], key=lambda part: statistics.median(of_it['parts'][part]))
    lines += ['', f'most of it is {slowest}', '']
  return '\n'.join(lines).rstrip()
