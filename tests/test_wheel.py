"""The wheel that a release would be: all there, and at work without a checkout; tests/test_notebook.py trains by it."""
import os
import pathlib
import subprocess
import sys
import zipfile

from PIL import Image
import pytest

ROOT = pathlib.Path(__file__).parents[1]


def test_every_file_of_the_packages_is_in_it(wheel):
  here = {str(path.relative_to(ROOT)) for package in ('vit_jax', 'configs') for path in (ROOT / package).rglob('*')
          if path.is_file() and '__pycache__' not in path.parts}
  there = set(zipfile.ZipFile(wheel).namelist())
  assert here <= there
  assert {name.split('/')[0] for name in there if '.dist-info' not in name} == {'vit_jax', 'configs'}


@pytest.fixture(scope='module')
def start(wheel, tmp_path_factory):
  """A function of a command's arguments that runs it from the wheel, in an empty folder, and gives what it printed."""
  installed, folder = tmp_path_factory.mktemp('installed'), tmp_path_factory.mktemp('elsewhere')
  zipfile.ZipFile(wheel).extractall(installed)
  Image.effect_noise((64, 64), 50).save(folder / 'noise.png')

  def start(*arguments):
    done = subprocess.run([sys.executable, '-m', *arguments], cwd=folder, text=True, capture_output=True, check=False,
                          env={**os.environ, 'PYTHONPATH': str(installed)})
    assert done.returncode == 0, done.stderr
    return done.stdout
  code = 'import configs, vit_jax; print(configs.__file__, vit_jax.__file__)'
  done = subprocess.run([sys.executable, '-c', code], cwd=folder, text=True, capture_output=True, check=True,
                        env={**os.environ, 'PYTHONPATH': str(installed)})
  assert done.stdout.count(str(installed)) == 2  # Not the checkout.
  return start


def test_it_answers_by_the_weights_that_came_with_it(start):
  assert 'noise.png' in start('vit_jax.predict', '--pretrained=tiny_imagenet', 'noise.png')


def test_it_writes_pages_by_the_templates_that_came_with_it(start):
  start('vit_jax.inspect_data', '--config=configs/digits.py', '--html=page.html')
