"""Signals that really arrive."""
import signal
import time

import pytest

from vit_jax import interrupt

SIGNALS = interrupt.SIGNALS


def terminated(*_):
  raise SystemExit('terminated')


# What each signal does outside: SIGTERM and SIGHUP raise too, so that pytest outlives them.
OUTSIDE = {number: signal.default_int_handler if number == signal.SIGINT else terminated for number in SIGNALS}


@pytest.fixture(autouse=True)
def handlers():
  """Sets OUTSIDE, and checks that it is put back."""
  before = {number: signal.signal(number, handler) for number, handler in OUTSIDE.items()}
  yield
  try:
    assert {number: signal.getsignal(number) for number in SIGNALS} == OUTSIDE
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)


def test_nothing_happens_without_a_signal():
  with interrupt.stop_on_signal() as stop:
    assert stop.signal is None


@pytest.mark.parametrize('number', SIGNALS)
def test_first_signal_is_a_wish(number):
  steps = 0
  with interrupt.stop_on_signal() as stop:
    signal.raise_signal(number)
    steps += 1  # the step goes on to its end
    assert stop.signal == number
  assert steps == 1


@pytest.mark.parametrize('first', SIGNALS)
@pytest.mark.parametrize('second, error', [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_second_signal_ends(first, second, error):
  with pytest.raises(error), interrupt.stop_on_signal() as stop:
    signal.raise_signal(first)
    assert stop.signal == first
    signal.raise_signal(second)
    pytest.fail('the second signal changed nothing')


@pytest.mark.parametrize('number, status', [(signal.SIGINT, 130), (signal.SIGTERM, 0), (signal.SIGHUP, 0)])
def test_only_ctrl_c_is_no_success(number, status):
  with interrupt.stop_on_signal() as stop:
    assert stop.wanted() is None
    signal.raise_signal(number)
    assert stop.wanted().status == status


def test_a_closed_terminal_is_no_wish_where_it_is_ignored():
  signal.signal(signal.SIGHUP, signal.SIG_IGN)  # As `nohup` does.
  with interrupt.stop_on_signal() as stop:
    signal.raise_signal(signal.SIGHUP)
    assert stop.wanted() is None
  assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
  signal.signal(signal.SIGHUP, OUTSIDE[signal.SIGHUP])


def test_who_is_not_read_is_stopped():
  stop = interrupt.Stop()
  stop.signal = interrupt.NOBODY_READS
  assert stop.wanted().status == 141


def test_the_time_is_over_before_it_is(monkeypatch):
  clock = [100.0]
  monkeypatch.setattr(time, 'monotonic', lambda: clock[0])
  stop = interrupt.Stop(deadline=160.0)
  for clock[0] in (100.0, 102.0, 112.0, 114.0):  # the longest step took ten seconds
    stop.step_done()
  for clock[0], over in [(114.0, False), (124.9, False), (125.1, True), (170.0, True)]:
    assert bool(stop.wanted()) == over
  assert stop.wanted().status == 0


def test_handlers_are_put_back_after_an_error():
  with pytest.raises(ZeroDivisionError), interrupt.stop_on_signal():
    raise ZeroDivisionError


def test_blocks_in_a_row_start_anew():
  for _ in range(2):
    with interrupt.stop_on_signal() as stop:
      assert stop.signal is None
      signal.raise_signal(signal.SIGINT)
