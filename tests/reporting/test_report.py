"""The command: help that helps, one line for each mistake, and the files it leaves."""
import dataclasses
import pathlib
import shutil
import subprocess
import sys

from absl import flags
from absl.testing import flagsaver
import pytest

from vit_jax import report
from vit_jax.reporting import findings

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def parsed_flags():
  """Flags as a command line without any leaves them."""
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(['test'])


def command(*arguments):
  return subprocess.run([sys.executable, '-m', 'vit_jax.report', *map(str, arguments)], cwd=ROOT, text=True,
                        capture_output=True, check=False)


def test_help_is_readable():
  process = command('--help')
  for text in ('python -m vit_jax.report runs/', '--out', '--[no]compare', '--cache_dir', "pip install 'vit_jax[hub]'"):
    assert text in process.stdout, text
  assert process.stderr == ''


@pytest.fixture
def half(tmp_path):
  """A run folder of which a kill has left the config alone."""
  for name, files in (('half', ['config.json']), ('more', ['config.json', 'model.json'])):
    (tmp_path / name).mkdir()
    for file in files:
      (tmp_path / name / file).write_text('{}')
  return tmp_path / 'half'


@pytest.mark.parametrize(('arguments', 'message'), [
    ([], 'nothing to report on; name a run folder'),
    (['no_such_run'], 'no_such_run is not a run of vit_jax: config.json is missing'),
    (['a', 'b'], '2 runs, of which one is reported on; --compare puts the others beside a'),
    (['--compare', 'a'], 'nothing to compare a with'),
    (['HALF/../more', '--out=HALF'], 'cannot be written: it is a folder'),
    (['HALF'], 'is not a run of vit_jax: model.json is missing')])
def test_a_mistake_is_one_line(half, arguments, message):
  process = command(*(text.replace('HALF', str(half)) for text in arguments))
  assert process.returncode == 2 and message in process.stderr
  assert process.stderr.startswith('error: ') and process.stderr.count('\n') == 1
  assert [path.name for path in half.iterdir()] == ['config.json']


def test_it_writes_page_and_card_and_nothing_else(run_folder, found, tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(findings, 'gather', lambda run, **_: dataclasses.replace(found, path=pathlib.Path(run)))
  monkeypatch.setattr(report.command, 'start_jax', lambda: None)  # Its memory would be kept for all tests that follow.
  other = shutil.copytree(run_folder, tmp_path / 'other')
  before = sorted(path.name for path in run_folder.iterdir())
  out = tmp_path / 'out' / 'page.html'
  out.parent.mkdir()
  with flagsaver.flagsaver(out=str(out), compare=True, cache_dir=str(tmp_path / 'cache')):
    assert report.main([str(run_folder), str(other)]) == 0
  assert sorted(path.name for path in out.parent.iterdir()) == ['MODEL_CARD.md', 'page.html']
  assert sorted(path.name for path in run_folder.iterdir()) == before
  lines = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line[0] != ' ']
  assert lines == ['run', 'page', 'card']
  assert 'other is not shown to be better or worse than small' in out.read_text(encoding='utf-8')
  assert (out.parent / 'MODEL_CARD.md').read_text(encoding='utf-8').startswith('---\ndatasets:')


def test_without_huggingface_hub_there_is_a_page_and_a_line(run_folder, found, tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(findings, 'gather', lambda run, **_: found)
  monkeypatch.setattr(report.command, 'start_jax', lambda: None)
  monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
  with flagsaver.flagsaver(out=str(tmp_path / 'page.html'), cache_dir=str(tmp_path / 'cache')):
    assert report.main([str(run_folder)]) == 0
  said = ' '.join(capsys.readouterr().out.split())
  assert "not written: a model card needs huggingface_hub, which is not installed: pip install 'vit_jax[hub]'" in said
  assert [path.name for path in tmp_path.iterdir()] == ['page.html']


def test_a_card_that_was_answered_stays(found, tmp_path):
  card, new = tmp_path / 'MODEL_CARD.md', tmp_path / 'MODEL_CARD.new.md'
  for _ in range(2):  # Its own it writes anew.
    assert report.write_card(found, card).startswith(f'{card}; what is marked Owner')
  text = card.read_text(encoding='utf-8')
  first, _, rest = text.partition('> **Owner:**')
  card.write_text(f'{first}> **Owner:** My students.{rest}', encoding='utf-8')
  answered = card.read_bytes()
  for _ in range(2):
    assert report.write_card(found, card) == f'{new}; MODEL_CARD.md is not as vit_jax.report wrote it, and stays'
  assert card.read_bytes() == answered and new.read_text(encoding='utf-8') == text
  new.write_bytes(answered)
  assert report.write_card(found, card).startswith(f'{tmp_path / "MODEL_CARD.new1.md"}; ')
  assert card.read_bytes() == new.read_bytes() == answered


def test_a_card_with_names_that_are_not_utf8_is_known_again(found, tmp_path):
  odd = dataclasses.replace(found, model=found.model | {'class_names': [f'\udce9{i}' for i in range(10)]})
  for _ in range(2):
    assert 'MODEL_CARD.md; what is marked Owner' in report.write_card(odd, tmp_path / 'MODEL_CARD.md')
  (tmp_path / 'MODEL_CARD.md').write_bytes('90 – 99 %'.encode('cp1252'))
  assert 'MODEL_CARD.new.md; ' in report.write_card(odd, tmp_path / 'MODEL_CARD.md')
