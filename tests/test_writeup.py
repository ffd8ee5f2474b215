"""The write-up and the poster: they are of the results that are committed."""
import importlib.util
import pathlib
import re

import pytest

typst = pytest.importorskip('typst')
ROOT = pathlib.Path(__file__).parents[1]
FOLDER = ROOT / 'docs' / 'writeup'


def load(path):
  spec = importlib.util.spec_from_file_location(path.stem, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  """The folder with both, made now."""
  folder = tmp_path_factory.mktemp('writeup')
  load(FOLDER / 'make.py').make(folder)
  return folder


@pytest.mark.parametrize('name', ['writeup', 'poster'])
def test_what_is_committed_is_of_these_results(made, name):
  new, committed = ((folder / f'{name}.pdf').read_bytes() for folder in (made, FOLDER))
  version = lambda pdf: re.search(rb'Creator\((.*?)\)', pdf).group(1)
  if version(new) != version(committed):
    pytest.skip('another Typst lays out otherwise')
  assert new == committed, f'{name}.pdf is of older results; run python docs/writeup/make.py'


def test_a_poster_is_one_page(made):
  assert re.findall(rb'/Type/Pages/Count (\d+)', (made / 'poster.pdf').read_bytes()) == [b'1']


def test_numbers_are_those_of_readme():
  html = typst.compile(FOLDER / 'writeup.typ', root=ROOT, format='html').decode()
  cells = lambda row: re.findall(r'<t[dh]>(.*?)</t[dh]>', row, re.DOTALL)
  rows = [[' '.join(re.sub(r'<[^>]+>', ' ', cell).split()) for cell in cells(row)]
          for row in re.findall(r'<tr>(.*?)</tr>', html, re.DOTALL)]
  table = load(ROOT / 'experiments' / 'table.py').table
  known = [re.split(r' *\| *', line)[1:-1] for study in ('foundation', 'cifar10', 'tiny_imagenet', 'transfer')
           for line in table(ROOT / 'experiments' / study / 'results.csv')[2:]]
  known = [(seeds, accuracy) for recipe, _, seeds, accuracy, *_ in known if recipe != '`digits`']
  assert sorted((row[3], row[4]) for row in rows[1:]) == sorted(known)
