"""README against the repository: its numbers, its files and its commands."""
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / 'README.md').read_text(encoding='utf-8')
STUDIES = [ROOT / 'experiments' / name for name in ('foundation', 'cifar10', 'tiny_imagenet', 'transfer')]


@pytest.mark.parametrize(('page', 'studies'), [(ROOT, STUDIES), *((study, [study]) for study in STUDIES)],
                         ids=['README', *(study.name for study in STUDIES)])
def test_every_number_of_the_table_comes_from_the_results(page, studies):
  printed = subprocess.run([sys.executable, ROOT / 'experiments' / 'table.py', *(s / 'results.csv' for s in studies)],
                           capture_output=True, text=True, check=True).stdout
  assert printed.strip() in (page / 'README.md').read_text(encoding='utf-8')


def test_the_tree_shows_every_module():
  tree = README.split('```\nconfigs/')[1].split('```')[0]
  named = set(re.findall(r'(\w+\.py)', tree))
  modules = {path.name for path in (ROOT / 'vit_jax').rglob('*.py') if path.stem != '__init__'}
  assert named == modules | {'common.py'}


def test_links_and_recipes_exist():
  links = re.findall(r'\]\((?!http)([^)]+)\)', README) + re.findall(r'--config=(configs/\w+\.py)', README)
  assert links
  for link in links:
    assert (ROOT / link).exists(), link


def test_ci_runs_the_tests_as_readme_says():
  ci = (ROOT / '.ci' / 'run').read_text()
  assert "pip install -e '.[tests]'" in README and "install -q -e '.[tests]'" in ci
  assert 'python -m pytest -q -n 2' in README and '-q -n 2' in ci
