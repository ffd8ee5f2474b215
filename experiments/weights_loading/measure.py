"""How much memory and time loading ViT-L/16 takes, beside what `safetensors.numpy.load_file` takes for the same file.

    python experiments/weights_loading/measure.py --work=/tmp/weights

Writes the weights, random numbers, into the folder `work` (5.5 GB, kept for the next time), loads each form in a
process of its own, everything in turns, and writes results.csv beside this script.
"""
import argparse
import csv
import json
import pathlib
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).parent
VARIANT, CLASSES, SIZE = 'ViT-L_16', 1000, 224
FORMS = {'vit_jax': 'l16.safetensors', 'vit_jax, bfloat16': 'l16_bf16.safetensors', 'timm': 'l16_timm',
         'huggingface': 'l16_huggingface', 'npz': 'l16.npz'}


def like():
  """The model's parameters, as shapes."""
  from vit_jax.models import variants
  model = variants.build(VARIANT, num_classes=CLASSES, image_size=SIZE)
  return model, variants.abstract_params(model, SIZE)


def write(work):
  """Writes what is not there yet: the published form first, and the others by vit_jax.export from it."""
  from flax import traverse_util
  import numpy as np
  work.mkdir(exist_ok=True, parents=True)
  if not (work / FORMS['npz']).exists():
    rng = np.random.default_rng(0)
    named = {name: rng.standard_normal(leaf.shape, np.float32)
             for name, leaf in traverse_util.flatten_dict(like()[1], sep='/').items()}
    np.savez(work / FORMS['npz'], **named)
  options = {'timm': ['--format=timm'], 'huggingface': ['--format=huggingface'],
             'vit_jax, bfloat16': ['--dtype=bfloat16']}
  for form, name in FORMS.items():
    if not (work / name).exists():
      subprocess.run([sys.executable, '-m', 'vit_jax.export', work / FORMS['npz'], work / name, *options.get(form, [])],
                     check=True)


def file_of(work, form):
  """The file with the numbers."""
  path = work / FORMS[form]
  return path / 'model.safetensors' if path.is_dir() else path


def status(key):
  """A line of this process's status, in bytes."""
  lines = pathlib.Path('/proc/self/status').read_text(encoding='utf-8').splitlines()
  return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f'{key}:'))


def load(work, form, by):
  """Loads once, everything being imported: prints seconds, and by how much the process grew at its largest."""
  import numpy as np
  from safetensors import numpy as safetensors

  from vit_jax.weights import load as load_lib
  _, wanted = like()
  file = file_of(work, form)
  with file.open('rb') as opened:  # So that all find the file in the system's cache.
    while opened.read(1 << 24):
      pass
  pathlib.Path('/proc/self/clear_refs').write_text('5', encoding='utf-8')  # Forgets the largest size so far.
  before, start = status('VmRSS'), time.perf_counter()
  if by == 'vit_jax':
    found = load_lib.load_weights(work / FORMS[form], wanted)
  elif form == 'npz':
    with np.load(file) as archive:
      found = {name: archive[name] for name in archive.files}
  else:
    found = safetensors.load_file(file)
  seconds = time.perf_counter() - start
  print(json.dumps({'seconds': seconds, 'grown': status('VmHWM') - before, 'arrays': len(found)}))


def main():
  """Rounds of all forms, each once by the library alone and once by vit_jax."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--work', type=pathlib.Path, required=True, help='a folder with 5 GB of room')
  parser.add_argument('--rounds', type=int, default=7)
  parser.add_argument('--load', nargs=2, metavar=('FORM', 'BY'), help=argparse.SUPPRESS)
  options = parser.parse_args()
  if options.load:
    return load(options.work, *options.load)
  write(options.work)
  measured = {}
  for number in range(options.rounds):
    for form in FORMS:
      # Whoever comes second finds other memory, so that they take turns in that too.
      for by in ('library', 'vit_jax')[::1 if number % 2 else -1]:
        done = subprocess.run([sys.executable, __file__, f'--work={options.work}', '--load', form, by], check=True,
                              capture_output=True, text=True)
        measured.setdefault((form, by), []).append(json.loads(done.stdout.splitlines()[-1]))
    print(f'round {number + 1} of {options.rounds}', file=sys.stderr)
  with (HERE / 'results.csv').open('w', newline='', encoding='utf-8') as file:
    writer = csv.writer(file, lineterminator='\n')
    writer.writerow(['form', 'file_mb', 'by', 'seconds', 'seconds_min', 'seconds_max', 'peak_over_file'])
    for (form, by), found in measured.items():
      size = file_of(options.work, form).stat().st_size
      seconds = [one['seconds'] for one in found]
      times = statistics.median(seconds), min(seconds), max(seconds)
      writer.writerow([form, round(size / 1e6), by, *(round(value, 3) for value in times),
                       round(max(one['grown'] for one in found) / size, 3)])


if __name__ == '__main__':
  main()
