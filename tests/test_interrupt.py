"""Signals that really arrive."""
import signal

import pytest

from vit_jax import interrupt

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture(autouse=True)
def handlers():
  """What each signal does outside: SIGTERM raises too, so that pytest outlives it. Checks that it is put back."""
  def terminated(*_):
    raise SystemExit('terminated')
  before = [signal.getsignal(number) for number in SIGNALS]
  outside = [signal.default_int_handler, terminated]
  for number, handler in zip(SIGNALS, outside, strict=True):
    signal.signal(number, handler)
  yield
  try:
    assert [signal.getsignal(number) for number in SIGNALS] == outside
  finally:
    for number, handler in zip(SIGNALS, before, strict=True):
      signal.signal(number, handler)


def test_nothing_happens_without_a_signal():
  with interrupt.stop_on_signal() as stop:
    assert stop['signal'] is None


@pytest.mark.parametrize('number', SIGNALS)
def test_first_signal_is_a_wish(number):
  steps = 0
  with interrupt.stop_on_signal() as stop:
    signal.raise_signal(number)
    steps += 1  # the step goes on to its end
    assert stop['signal'] == number
  assert steps == 1


@pytest.mark.parametrize('first', SIGNALS)
@pytest.mark.parametrize('second, error', [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_second_signal_ends(first, second, error):
  with pytest.raises(error), interrupt.stop_on_signal() as stop:
    signal.raise_signal(first)
    assert stop['signal'] == first
    signal.raise_signal(second)
    pytest.fail('the second signal changed nothing')


def test_handlers_are_put_back_after_an_error():
  with pytest.raises(ZeroDivisionError), interrupt.stop_on_signal():
    raise ZeroDivisionError


def test_blocks_in_a_row_start_anew():
  for _ in range(2):
    with interrupt.stop_on_signal() as stop:
      assert stop['signal'] is None
      signal.raise_signal(signal.SIGINT)
