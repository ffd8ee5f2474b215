"""Energy and CO2 against codecarbon's own account, and by hand."""
import contextlib
import sys
import time

import pytest

from vit_jax import energy
from vit_jax.errors import BadInput


def busy(seconds):
  end = time.monotonic() + seconds
  while time.monotonic() < end:
    sum(range(10_000))


def test_intensity_of_a_country_is_codecarbons():
  codecarbon = pytest.importorskip('codecarbon', reason='the energy extra is not installed')
  tracker = codecarbon.OfflineEmissionsTracker(country_iso_code='DEU', output_methods=[], allow_multiple_runs=True,
                                               log_level='critical')
  tracker.start()
  busy(1)
  kilograms = tracker.stop()
  assert kilograms / tracker.final_emissions_data.energy_consumed == pytest.approx(energy.intensity('DEU') / 1000)


def test_intensity_of_the_world_and_of_nowhere():
  assert energy.intensity('') == 473
  pytest.importorskip('codecarbon', reason='the energy extra is not installed')
  with pytest.raises(BadInput, match=r"--country=Germany is unknown; give the three letters of ISO 3166"):
    energy.intensity('Germany')


@pytest.fixture
def without_codecarbon(monkeypatch):
  energy._intensities.cache_clear()
  monkeypatch.setitem(sys.modules, 'codecarbon', None)
  yield
  energy._intensities.cache_clear()


def test_without_codecarbon_nothing_is_claimed(without_codecarbon):
  with contextlib.closing(energy.Meter()) as meter:
    assert meter.read() is None and meter.method() is None
  assert energy.costs(None, '', None) == {}
  assert energy.intensity('') == 473
  with pytest.raises(BadInput, match=r"pip install 'vit_jax\[energy\]'"):
    energy.intensity('DEU')


def test_meter_counts_watts_that_a_computer_may_take():
  pytest.importorskip('codecarbon', reason='the energy extra is not installed')
  with contextlib.closing(energy.Meter()) as meter:
    before = meter.read()
    busy(3)
    after = meter.read()
    watts = (after - before) * 1000 * 3600 / 3
    assert 1 < watts < 1000
    assert 'codecarbon' in meter.method()


def test_costs_and_their_description_by_hand():
  costs = energy.costs(0.018, '', 'a guess')
  assert costs == {'energy_kwh': 0.018, 'co2_grams': pytest.approx(8.514), 'country': 'the world',
                   'energy_method': 'a guess'}
  assert energy.describe(0.018, 8.514, 'the world', 'a guess') == (
      '18 Wh, 8.51 g CO2e with the electricity of the world, as much as an LED lamp of 9 W takes in 2.0 hours; a guess')
  assert energy.describe(1.2345, 999.6, 'DEU', '').startswith('1,234 Wh, 1,000 g CO2e')
  assert 'in 20.0 minutes;' in energy.describe(0.003, 1, 'DEU', '')
  assert 'in 4.0 seconds;' in energy.describe(0.00001, 1, 'DEU', '')
