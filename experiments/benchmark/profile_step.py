"""Where the time of a train step goes: which part of the model, and which kind of operation.

    python experiments/benchmark/profile_step.py configs/tiny_imagenet_2h.py configs/cifar_catdog.py

Runs a few steps on a CPU under jax's profiler. Operations run at the same time on several threads; a moment in which
two run counts half for each, so that the shares add up to the time in which anything ran at all. Prints a table for
each recipe and writes profile.csv beside this script.
"""
import argparse
import collections
import csv
import importlib
import pathlib
import re
import tempfile

HERE = pathlib.Path(__file__).parent
STEPS = 8
# Part of the step -> what the names of its operations hold; the first that fits counts.
PARTS = {'augmentation': r'/augment/', 'optimizer and running mean': r'/update/', 'stem': r'stem_|/embedding/',
         'positions': r'ConvPositions|posembed', 'dropping patches': r'PatchDropout',
         'LayerNorm': r'LayerNorm_\d|encoder_norm',
         'attention, products with weights': r'MultiHead\w+/(query|key|value|out)/',
         'attention, the rest': r'MultiHead',
         'MLP': r'MlpBlock', 'head and loss': r'/head'}
KINDS = ('products', 'all else')
NOTHING = 'nothing: the host, and starting operations'
PRODUCT = re.compile(r'dot|matmul|convolution|custom-call')


def names_of(text):
  """Operation of a compiled program -> (what it does, the modules it comes from); a fusion has those of its parts,
  and what has none itself those of what it works on."""
  inside, found, computation = {}, {}, ''
  for line in text.splitlines():
    if line[:1] in ('%', 'E'):  # A computation begins.
      computation = line.removeprefix('ENTRY ').split()[0].lstrip('%')
    if match := re.match(r'\s+(?:ROOT )?%([\w.$-]+) = .*?[\]})] ([\w-]+)\(', line):
      name, called = re.search(r'op_name="([^"]*)"', line), re.search(r'(?:calls|to_apply)=%([\w.-]+)', line)
      kind, modules = match[2], name[1] if name else ''
      for operand in re.findall(r'%([\w.$-]+)', line[match.end():]) if not modules else ():
        modules = modules or found.get(operand, ('', ''))[1]
      inside.setdefault(computation, []).append((kind, modules))
      if called:
        parts = inside.get(called[1], [])
        kind = ' '.join([kind, *(kind for kind, _ in parts)])
        named = collections.Counter(part for _, part in parts if part)
        modules = modules or (named.most_common(1)[0][0] if named else '')
      found[match[1]] = kind, modules
  return found


def part_of(name, names):
  """The part of the step that an operation belongs to."""
  _, module = names.get(name, ('', ''))
  return next((part for part, pattern in PARTS.items() if re.search(pattern, module + '/')), 'elsewhere')


def kind_of(name, names):
  """A product of matrices or anything else."""
  kind, _ = names.get(name, ('', ''))
  return 'products' if PRODUCT.search(f'{kind} {name}') else 'all else'


def profiled(run):
  """Runs a function under jax's profiler: -> what it returns, and the profile's planes."""
  import jax
  with tempfile.TemporaryDirectory() as folder:
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0
    with jax.profiler.trace(folder, profiler_options=options):
      found = run()
    file, = pathlib.Path(folder).rglob('*.xplane.pb')
    return found, jax.profiler.ProfileData.from_file(str(file)).planes


def events_of(planes):
  """(start, end, operation) of all that ran, in ns."""
  return [(event.start_ns, event.end_ns, event.name.split('__onednn')[0])
          for plane in planes for line in plane.lines for event in line.events
          if event.name[:4] != 'end:' and any(key == 'hlo_op' for key, _ in event.stats)]


def shares(events):
  """Seconds of each operation, moments in which several run divided among them; and of all together."""
  seconds, running, before = collections.Counter(), collections.Counter(), 0
  moments = sorted([(start, 1, name) for start, _, name in events] + [(end, -1, name) for _, end, name in events],
                   key=lambda moment: moment[:2])
  for now, change, name in moments:
    active = sum(running.values())
    for other, count in running.items():
      seconds[other] += (now - before) * count / active / 1e9
    before = now
    running[name] += change
    running += collections.Counter()  # Drops those that have ended.
  return seconds


def traced(work, count):
  """Takes so many steps twice: -> seconds without the profiler, with it, and then of each operation."""
  from vit_jax.benchmarks import child
  work.run(3)
  alone = child.timed(work, count)
  wall, planes = profiled(lambda: child.timed(work, count))
  return alone, wall, shares(events_of(planes))


def profile(recipe):
  """-> rows of profile.csv for a recipe."""
  from vit_jax import config as config_lib
  from vit_jax.benchmarks import ours
  from vit_jax.benchmarks import setting as setting_lib
  config = importlib.import_module(recipe.removesuffix('.py').replace('/', '.')).get_config()
  setting = setting_lib.Setting('train', 'bfloat16', way='step', recipe=config_lib.to_json(config),
                                cache_dir=str(pathlib.Path('~/.cache/vit_jax').expanduser()))
  work = ours.Training(setting)
  names = names_of(work.step.as_text())
  alone, wall, found = traced(work, STEPS)
  table = collections.Counter()
  for name, seconds in found.items():
    table[part_of(name, names), kind_of(name, names)] += seconds
  table[NOTHING, 'all else'] = wall - sum(found.values())
  print(f'\n{recipe}: {1e3 * alone / STEPS:.0f} ms a step, {1e3 * wall / STEPS:.0f} ms under the profiler\n')
  print('| part | products, % | all else, % | together, % |\n|---|---|---|---|')
  percent = lambda wanted: f'{100 * sum(value for key, value in table.items() if wanted(*key)) / wall:.1f}'
  for part in sorted({part for part, _ in table}, key=lambda part: -float(percent(lambda p, _: p == part))):  # noqa: B023
    cells = [percent(lambda p, k: p == part and k == kind) for kind in KINDS]  # noqa: B023
    print(f'| {part} | {" | ".join(cells)} | {percent(lambda p, _: p == part)} |')  # noqa: B023
  print(f'| **all** | {" | ".join(percent(lambda _, k: k == kind) for kind in KINDS)} | 100 |')  # noqa: B023
  return [{'recipe': recipe, 'part': part, 'kind': kind, 'ms_a_step': round(1e3 * seconds / STEPS, 2),
           'share': round(seconds / wall, 4)} for (part, kind), seconds in table.most_common()]


def write(path, rows):
  """Writes rows, which have the same keys, as a table."""
  with path.open('w', newline='', encoding='utf-8') as file:
    writer = csv.DictWriter(file, rows[0], lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)


def main():
  """Profiles each recipe."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('recipes', nargs='+')
  recipes = parser.parse_args().recipes
  from vit_jax import cpu
  cpu.keep_pages()
  write(HERE / 'profile.csv', [row for recipe in recipes for row in profile(recipe)])


if __name__ == '__main__':
  main()
