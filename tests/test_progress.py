"""What a person reads, by hand; time comes from a fake clock."""
import io
import os
import types

import pytest

from vit_jax import progress


@pytest.mark.parametrize('seconds, text', [
    (0, '0 s'), (42.4, '42 s'), (59.6, '1 min 00 s'), (492, '8 min 12 s'), (3599.7, '1 h 00 min'),
    (11_117, '3 h 05 min'), (100 * 3600, '100 h 00 min')])
def test_duration(seconds, text):
  assert progress.duration(seconds) == text


@pytest.mark.parametrize('value, text', [
    (0, '0'), (999, '999'), (9500, '9,500'), (99_999, '99,999'), (349_258, '349 k'), (999_400, '999 k'),
    (999_900, '1 M'), (2_930_000, '2.93 M'), (86_567_656, '86.6 M'), (999_999_999, '1 G'), (35.1e9, '35.1 G'),
    (1.05e12, '1.05 T')])
def test_number(value, text):
  assert progress.number(value) == text


def test_table_is_aligned_and_wraps_under_itself():
  path = '/a-long-path/' + 'x' * 110
  text = progress.table([('data', 'short'), ('model', 'word ' * 30 + '8×8'), ('', 'more'), ('run', path)])
  lines = text.splitlines()
  assert lines[0] == 'data      short'
  assert lines[1].startswith('model     word') and lines[2].startswith(' ' * 10 + 'word')
  assert lines[3:] == ['          more', 'run       ' + path]  # a path is never cut: it is there to be copied
  assert max(map(len, lines[:4])) <= 100
  assert ' '.join(line[10:] for line in lines[1:3]) == 'word ' * 30 + '8×8'


@pytest.fixture
def clock(monkeypatch):
  """A clock that stands still until it is told: clock.now = seconds."""
  fake = types.SimpleNamespace(now=100.0)
  fake.monotonic = lambda: fake.now
  monkeypatch.setattr(progress, 'time', fake)
  return fake


class Terminal(io.StringIO):
  """A file that says it is a terminal."""

  def isatty(self):
    """Always."""
    return True


def test_plain_lines_every_ten_seconds(clock):
  file = io.StringIO()
  bar = progress.Progress(start_step=40, total_steps=100, batch_size=32, file=file)
  clock.now += 5
  bar.update(50, {'loss': 2.5, 'accuracy': .125, 'step': 50, 'lr': .1})
  assert file.getvalue() == ''
  clock.now += 5
  bar.update(60, {'loss': 2.25})
  # 20 steps of 32 pictures in ten seconds; the other 40 take twice as long. Accuracy was last known at step 50.
  first = 'step 60/100 · 64 images/s · loss 2.250 · acc 12.5% · 20 s left\n'
  assert file.getvalue() == first
  clock.now += 2
  bar.update(84, {'loss': 1.0, 'accuracy': .5})
  assert file.getvalue() == first
  clock.now += 1
  bar.update(92, {'loss': .5, 'accuracy': 1.0, 'val_accuracy': .75}, always=True)
  assert file.getvalue() == first + 'step 92/100 · 128 images/s · loss 0.500 · acc 100.0% · val 75.0% · 2 s left\n'
  bar.close()
  assert file.getvalue().count('\n') == 2


def test_who_reads_no_more_is_noticed(clock):
  reads, writes = os.pipe()
  with open(writes, 'w') as file:
    bar = progress.Progress(start_step=0, total_steps=10, batch_size=1, file=file)
    clock.now += 1
    bar.update(1, {'loss': 1.0}, always=True)
    assert not bar.unread
    os.close(reads)
    bar.update(2, {'loss': 1.0}, always=True)
    assert bar.unread
    os.dup2(os.open(os.devnull, os.O_WRONLY), writes)


def test_bar_on_a_terminal(clock):
  file = Terminal()
  bar = progress.Progress(start_step=0, total_steps=10, batch_size=1000, file=file)
  clock.now += 2
  bar.update(4, {'loss': 1.5, 'accuracy': .25}, always=True)
  bar.update(5, {'val_accuracy': .5})
  bar.close()
  last = file.getvalue().rstrip('\n').split('\r')[-1]
  assert last.startswith(' 50% |') and 'step 5/10' in last
  assert '2,500 images/s · loss 1.500 · acc 25.0% · val 50.0%' in last and 'left' in last
  assert file.getvalue().count('\n') == 1  # one line, drawn over itself


def test_lines_of_a_bar_where_there_is_no_terminal(clock):
  file = io.StringIO()
  with progress.bar(total=4000, desc='decoding', unit='pictures', file=file) as bar:
    bar.update(900)
    clock.now += 9.5
    bar.update(100)
    assert file.getvalue() == ''
    clock.now += 0.5
    bar.update(1000)
    # 2,000 in ten seconds, 2,000 to go.
    assert file.getvalue() == 'decoding · 2,000/4,000 pictures · 10 s left\n'
    clock.now += 5
    bar.update(1000)
    clock.now += 5
    bar.update(1)
  assert file.getvalue().splitlines()[1:] == ['decoding · 3,001/4,000 pictures · 7 s left']


def test_lines_stand_in_for_tqdm(clock):
  file, seen = io.StringIO(), []
  for item in progress.Lines('abcd', desc='Reading...', unit=' letters', file=file):
    seen.append(item)
    clock.now += 6
  assert seen == list('abcd')
  assert file.getvalue() == 'Reading · 2/4 letters · 12 s left\nReading · 4/4 letters · 0 s left\n'
  bar = progress.Lines(total=0, desc='Dl Size...', unit=' MiB', file=(file := io.StringIO()))
  clock.now += 10
  bar.update(3)
  assert file.getvalue() == 'Dl Size · 3 MiB\n'
  bar.total += 30  # As TFDS does, once it is told the size.
  clock.now += 20
  bar.update(12)
  assert file.getvalue().splitlines()[1] == 'Dl Size · 15/30 MiB · 30 s left'


def test_a_bar_on_a_terminal_shows_from_the_third_second_on():
  file = Terminal()
  with progress.bar(total=10, desc='decoding', unit='pictures', file=file) as bar:
    bar.update(5)
  assert file.getvalue() == ''
  with progress.bar(total=10, desc='decoding', unit='pictures', file=file) as bar:
    bar.start_t -= 3
    bar.last_print_t -= 3
    bar.update(5)
  shown = file.getvalue().rstrip('\n').split('\r')[-1]
  assert shown.startswith('decoding:  50%|') and '5/10' in shown and 'pictures/s' in shown


@pytest.mark.parametrize('result, lines', [
    (dict(test_accuracy=.75, test_loss=.5, test_count=2000),
     ['test      accuracy 75.00%, loss 0.5000, 2,000 pictures']),
    (dict(test_accuracy=.98765, test_accuracy_flip=.5, test_top5=1.0, test_loss=1.23456, test_count=9, seconds=61),
     ['test      accuracy 98.77% (50.00% averaged over the flipped picture), top-5 100.00%, loss 1.2346, 9',
      '          pictures', 'time      1 min 01 s']),
    (dict(test_accuracy=.75, test_loss=.5, test_count=2000, seconds=61, cpu_seconds=119.6, peak_memory=2_340_000_000,
          energy_kwh=.018, co2_grams=8.5, country='DEU', energy_method='counted'),
     ['test      accuracy 75.00%, loss 0.5000, 2,000 pictures',
      'time      1 min 01 s, 2 min 00 s of processor time, 2.3 GB of memory at most',
      'energy    18 Wh, 8.5 g CO2e with the electricity of DEU, as much as an LED lamp of 9 W takes in 2.0',
      '          hours; counted'])])
def test_result(result, lines):
  assert progress.describe_result(result).splitlines() == lines
