"""The pages of docs/ against the repository: the config's keys, links, commands, and Sphinx without a warning."""
import importlib.util
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

from configs import common
from vit_jax import config as config_lib

ROOT = pathlib.Path(__file__).parents[1]
PAGES = sorted((ROOT / 'docs').glob('*.md'))
SPEC = importlib.util.spec_from_file_location('config_page', ROOT / 'docs' / 'config_page.py')
config_page = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(config_page)


def commands():
  """The commands of all pages and README, with where they stand."""
  for page in [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *PAGES]:
    for block in re.findall(r'```sh\n(.*?)```', page.read_text(encoding='utf-8'), re.DOTALL):
      for line in block.replace('\\\n', ' ').splitlines():
        if match := re.search(r'python -m vit_jax\.(\w+)(.*)', line):
          yield pytest.param(match[1], shlex.split(match[2].rstrip(' &')), id=f'{page.stem}:{line.strip()}')


def test_every_key_has_its_row_and_default():
  source = (ROOT / 'configs' / 'common.py').read_text(encoding='utf-8')
  assert (ROOT / 'docs' / 'config.md').read_text(encoding='utf-8') == config_page.page(source)
  rows = {key: (default, text) for key, default, text in config_page.keys(source)}
  flat = config_lib.flatten(common.get_config())
  assert rows.keys() == flat.keys()
  assert {key: default for key, (default, _) in rows.items()} == {key: repr(value) for key, value in flat.items()}
  assert all(text.endswith(('.', '…')) for _, text in rows.values())


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
  for link in re.findall(r'\]\((?!http)([^)#]+)', page.read_text(encoding='utf-8')):
    assert (page.parent / link).exists(), link


@pytest.mark.parametrize(('module', 'arguments'), list(commands()))
def test_commands_have_modules_recipes_and_keys_that_exist(module, arguments, parse):
  assert (ROOT / 'vit_jax' / f'{module}.py').exists()
  recipe = [argument.partition('=')[2] for argument in arguments if argument.startswith('--config=')]
  if recipe:
    parse(recipe[0], *(argument for argument in arguments if argument.startswith('--config.')))
  source = (ROOT / 'vit_jax' / f'{module}.py').read_text(encoding='utf-8') + (
      ROOT / 'vit_jax' / 'command.py').read_text(encoding='utf-8')
  for argument in arguments:
    if argument.startswith('--') and not argument.startswith(('--config', '--sweep.')):
      name = argument[2:].partition('=')[0]
      assert f"'{name}'" in source, name


def test_sphinx_has_nothing_to_complain_of(tmp_path):
  done = subprocess.run([sys.executable, '-m', 'sphinx', '-q', '-W', '--keep-going', 'docs', tmp_path / 'pages'],
                        cwd=ROOT, text=True, capture_output=True, check=False)
  assert done.returncode == 0, done.stderr
  for page in PAGES:
    assert (tmp_path / 'pages' / f'{page.stem}.html').exists()
