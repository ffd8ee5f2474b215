"""What README and docs/ tell people to type, typed by a shell in a new home folder, with small stand-ins for data."""
import os
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
from PIL import Image
import pytest

from vit_jax import quiet

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]
# Minutes become seconds by these, after the command that they follow.
SMALLER = {
    r'vit_jax\.main --config=': '--config.batch_size=8 --config.epochs=0.7 --config.optim.warmup_epochs=0.1',
    r'vit_jax\.benchmark ': '--rounds=1',
}
# What is not typed here, and why.
ELSEWHERE = {
    'venv': 'installs; .ci/run does',
    'pip install': 'installs; .ci/run does',
    'pytest': 'runs this test',
    'vit_jax.demo': 'serves until it is stopped; tests/test_demo.py opens it',
    'vit_jax.sweep': 'trains nine times; tests/sweeping sweeps',
}


def blocks(page, language):
  return re.findall(rf'```{language}\n(.*?)```', page.read_text(encoding='utf-8'), re.DOTALL)


def smaller(line):
  """The command as it is typed here, '' for one that is not."""
  line = line.removeprefix('python3 -m venv env && env/bin/pip install -e . && ')
  if any(words in line for words in ELSEWHERE):
    return ''
  for pattern, flags in SMALLER.items():
    if re.search(pattern, line):
      command, ampersand, _ = line.partition(' &')
      line = f'{command} {flags}{ampersand}'
  return line.replace('env/bin/python', sys.executable)


def store(home, name, size, classes, of_each):
  """A TFDS set of noise, twice so many to train on for each class, under the name and version of the real one."""
  tf = quiet.import_tensorflow()
  import tensorflow_datasets as tfds

  from vit_jax.data import tiny_imagenet  # noqa: F401  TFDS knows it from now on.
  builder, rng = tfds.builder(name, data_dir=home / 'nothing'), np.random.default_rng(0)
  if name == 'cifar10':  # Whose names are in its archive.
    builder.info.features['label'].names = ['airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse',
                                            'ship', 'truck']
  def examples(count):
    for i in range(count * classes):
      some = {'image': rng.integers(0, 256, (size, size, 3), np.uint8), 'label': i % classes, 'id': f'{i}',
              'file_name': f'{i}'}
      yield {key: some[key] for key in builder.info.features}
  spec = builder.info.features.get_tensor_spec()
  split = lambda count: tf.data.Dataset.from_generator(lambda: examples(count), output_signature=spec)
  tfds.dataset_builders.store_as_tfds_dataset(
      name=name, version=str(builder.version), features=builder.info.features, data_dir=home / 'tensorflow_datasets',
      split_datasets={'train': split(2 * of_each), 'test' if name == 'cifar10' else 'validation': split(of_each)})


@pytest.fixture(scope='module')
def home(tmp_path_factory):
  """A home folder with pictures in it, and the sets where TFDS would have put them."""
  home, rng = tmp_path_factory.mktemp('home'), np.random.default_rng(0)
  for name in ('daisy', 'dandelion'):
    (home / 'pictures' / name).mkdir(parents=True)
    for i in range(20):
      Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(home / 'pictures' / name / f'{i}.png')
  store(home, 'cifar10', 32, 10, 10)
  store(home, 'tiny_imagenet', 64, 200, 2)
  return home


def typed(home, folder, script):
  """Runs a script there as that person: -> what it printed; fails with that."""
  environment = {**os.environ, 'HOME': str(home), 'PYTHONPATH': str(ROOT)}
  done = subprocess.run(['bash', '-e'], input=script, cwd=folder, env=environment, text=True, capture_output=True,
                        check=False)
  assert done.returncode == 0, f'{script}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}'
  return done.stdout


@pytest.mark.slow
@pytest.mark.skipif('LONG' not in os.environ, reason='takes minutes; runs with LONG=1')
@pytest.mark.parametrize('page', [page for page in PAGES if blocks(page, 'sh')], ids=lambda page: page.stem)
def test_every_command_works(page, home, tmp_path):
  (tmp_path / 'holiday').mkdir()
  for name in ('cat.jpg', 'holiday/1.jpg'):
    Image.effect_noise((64, 64), 50).convert('RGB').save(tmp_path / name)
  (tmp_path / 'path' / 'to').mkdir(parents=True)
  shutil.copytree(ROOT / 'tests' / 'fixtures' / 'timm_gap_16', tmp_path / 'path' / 'to' / 'weights')
  count = 0
  for block in blocks(page, 'sh'):
    lines = [line for line in map(smaller, block.replace('\\\n', ' ').splitlines()) if line]
    typed(home, tmp_path, '\n'.join([*lines, 'wait']))
    count += len(lines)
  assert count


@pytest.mark.parametrize('page', [page for page in PAGES if blocks(page, 'python')], ids=lambda page: page.stem)
def test_code_runs(page, tmp_path):
  Image.effect_noise((64, 64), 50).convert('RGB').save(tmp_path / 'cat.jpg')
  code = '\n'.join([*blocks(page, 'python'), 'print(logits.shape, logits.dtype)\n'])  # As the pages say beside it.
  assert '(2, 10) float32' in typed(tmp_path, tmp_path, f'{sys.executable} - <<"END"\n{code}END\n')
