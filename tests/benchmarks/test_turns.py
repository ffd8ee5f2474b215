"""Who works when, and what becomes of those who cannot."""
from concurrent.futures import process
import os
import subprocess
import sys

import pytest

from vit_jax.benchmarks import child
from vit_jax.benchmarks import turns
from vit_jax.benchmarks.setting import Setting


def test_spread():
  assert turns.spread([4, 1, 2], '{:.1f}') == '2.0 (1.0 to 4.0)'


@pytest.fixture
def here(monkeypatch):
  """Lets contenders work in this process, by functions that a test gives; -> who did what, in order."""
  done = []

  class Pool:
    def __init__(self, *_, **__):
      self.setting = None

    def submit(self, function, argument):
      from concurrent import futures
      future = futures.Future()
      self.setting = argument if function is child.start else self.setting
      done.append((function.__name__, self.setting.way))
      if self.setting.way == 'broken':
        future.set_exception(ValueError('no compiler\nwas found'))
      elif self.setting.way == 'killed' and done.count(('turn', 'killed')) == 2:
        future.set_exception(process.BrokenProcessPool('gone'))
      elif self.setting.way == 'stopped' and done.count(('turn', 'stopped')) == 3:
        future.set_exception(KeyboardInterrupt())
      else:
        future.set_result({'argument': argument if function is child.turn else None})
      return future

    def shutdown(self, **_):
      done.append(('end', self.setting.way))

  monkeypatch.setattr(turns.futures, 'ProcessPoolExecutor', Pool)
  return done


def test_turns_alternate_within_a_group(here):
  group = [Setting('train', way=way) for way in 'ab']
  found = turns.take_turns([group, [Setting('train', way='c')]], rounds=2, seconds=.5)
  assert here == [('start', 'a'), ('start', 'b'), ('turn', 'a'), ('turn', 'b'), ('turn', 'b'), ('turn', 'a'),
                  ('end', 'b'), ('end', 'a'), ('start', 'c'), ('turn', 'c'), ('turn', 'c'), ('end', 'c')]
  assert [[one['setting']['way'] for one in group] for group in found] == [['a', 'b'], ['c']]
  assert found[0][0]['turns'] == [{'argument': .5}] * 2


def test_what_others_cannot_do_is_noted_and_ours_is_an_error(here):
  (found,), = turns.take_turns([[Setting('train', framework='torch', way='broken')]], rounds=2)
  assert found['turns'] == [] and 'no compiler' in found['error'] and '\n' not in found['error']
  assert here.count(('turn', 'broken')) == 0
  with pytest.raises(ValueError, match='no compiler'):
    turns.take_turns([[Setting('train', way='broken')]], rounds=1)
  assert here[-1] == ('end', 'broken')


def test_who_is_killed_has_no_turns(here):
  (found,), = turns.take_turns([[Setting('train', way='killed')]], rounds=4)
  assert found['turns'] == [] and found['error'] == 'its process was killed; is there enough memory?'
  assert here.count(('turn', 'killed')) == 2
  here.clear()
  with pytest.raises(process.BrokenProcessPool):
    turns.take_turns([[Setting('product', way='killed')]], rounds=4)


def test_ctrl_c_keeps_the_whole_rounds(here):
  one, stopped = Setting('train', way='a'), Setting('train', way='stopped')
  others = Setting('compile', way='b'), Setting('train', framework='torch', way='broken')
  groups = [[one], [others[0], one, stopped, others[1]], [one]]
  found = turns.take_turns(groups, rounds=5)
  assert [[len(each['turns']) for each in group] for group in found] == [[5], [0, 2, 2, 0]]
  assert turns.stopped(found, groups, 5) == 'stopped: 2 of 3 groups were measured, the last one in 2 of 5 rounds'
  assert here[-4:] == [('end', way) for way in ('broken', 'stopped', 'a', 'b')]


def test_ctrl_c_in_the_first_round_keeps_the_groups_before(here):
  here += [('turn', 'stopped')] * 2  # So that its next one is the third.
  groups = [[Setting('train', way='a')], [Setting('train', way='stopped')]]
  found = turns.take_turns(groups, rounds=2)
  assert [len(group) for group in found] == [1]
  assert turns.stopped(found, groups, 2) == 'stopped: 1 of 2 groups were measured, the last one in 2 of 2 rounds'
  here[:] = [('turn', 'stopped')] * 2
  with pytest.raises(KeyboardInterrupt):
    turns.take_turns(groups[1:], rounds=2)


def test_what_ended_was_not_stopped(here):
  for group in ([Setting('train', way='a')], [Setting('compile', way='a')]):
    assert not turns.stopped(turns.take_turns([group], rounds=2), [group], 2)


def test_what_is_only_compiled_takes_no_turn(here):
  turns.take_turns([[Setting('compile', way='x')]], rounds=3)
  assert here == [('start', 'x'), ('end', 'x')]


def test_numbers_of_turns():
  turn = lambda pictures, seconds: {'pictures': pictures, 'seconds': seconds}
  found = {'turns': [turn(10, 2.0), turn(90, 9.0), turn(8, 1.0)]}
  assert turns.per_turn(found, turns.pictures_per_second) == [5, 10, 8]
  assert turns.speed(found) == 8
  assert turns.speed({'turns': []}) == 0


@pytest.mark.slow
def test_processes_of_their_own():
  toy = dict(batch_size=8, tokens=4, width=32, depth=1)
  (step, compiled), = turns.take_turns([[Setting('train', way='step', **toy), Setting('compile', devices=8, **toy)]],
                                       rounds=2, seconds=.01)
  assert len(step['turns']) == 2 and compiled['turns'] == []
  facts = step['facts']
  for turn in step['turns']:
    assert turn['pictures'] >= 3 * 8 and turn['pictures'] % 8 == 0 and turn['seconds'] > 0
    # Libraries alone take over 100 MB; what this process has needed does not count for that one.
    assert 100e6 < turn['peak_memory'] < 1.5e9 and 50e6 < facts['base_memory'] < turn['peak_memory']
  # Each of eight devices holds all of the state, and an eighth of what comes of the batch.
  assert 4 * 4 * facts['parameters'] < compiled['facts']['compiled_memory'] < facts['compiled_memory']
  assert 'device_count=8' not in os.environ.get('XLA_FLAGS', '')


def test_a_killed_benchmark_leaves_no_process_behind():
  program = ('import os; from vit_jax.benchmarks import turns; '
             'pool = turns.Contender(None).pool; pool.submit(os.getpid).result(); print(1, flush=True); input()')
  with subprocess.Popen([sys.executable, '-c', program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as benchmark:
    assert benchmark.stdout.readline() == b'1\n'
    benchmark.kill()
    benchmark.communicate(timeout=60)  # Until nobody is left who could write.
