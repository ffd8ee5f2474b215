"""What a run costs in electricity and CO2, by codecarbon where it is installed (`pip install 'vit_jax[energy]'`).

Measured by the counters of processor (RAPL) and GPU (NVML) where the system lets them be read; otherwise an estimate
from the processor's rated power, or 4 W a thread, times its load, and from the size of the memory: right within a
factor of two or three. Nothing is sent anywhere. Not counted are screen, disk, cooling, and the making
of the machine.
"""
import functools
import json
import logging as python_logging
import pathlib
import threading

from vit_jax.errors import BadInput

# g CO2e/kWh of the world's electricity in 2024. Source: Ember, Global Electricity Review 2025.
WORLD_INTENSITY = 473.0
# Something to picture it by: what an LED lamp takes, in watts.
LAMP = 9.0


@functools.cache
def _intensities():
  """g CO2e/kWh by ISO 3166 code of three letters, from the file that codecarbon ships."""
  import codecarbon
  path = pathlib.Path(codecarbon.__file__).parent / 'data' / 'private_infra' / 'global_energy_mix.json'
  mixes = json.loads(path.read_text(encoding='utf-8'))
  return {code: mix['carbon_intensity'] for code, mix in mixes.items() if mix.get('carbon_intensity')}


def intensity(country):
  """g CO2e/kWh of a country's electricity, by its ISO 3166 code ('DEU'); of the world's for ''.

  Raises BadInput for a code that codecarbon does not know, and where codecarbon is needed and not installed.
  """
  if not country:
    return WORLD_INTENSITY
  try:
    known = _intensities()
  except ImportError:
    raise BadInput(f"--country={country} needs codecarbon: pip install 'vit_jax[energy]'") from None
  if country not in known:
    raise BadInput(f'--country={country} is unknown; give the three letters of ISO 3166, e.g. DEU, USA or IND')
  return known[country]


class Meter:
  """Counts this process's energy from now on; it starts in the background, within about two seconds."""

  def __init__(self):
    self._tracker = None
    self._thread = threading.Thread(target=self._start, daemon=True)
    self._thread.start()

  def _start(self):
    try:
      import codecarbon
    except ImportError:
      return
    python_logging.getLogger('codecarbon').disabled = True  # It tells at length what it cannot read.
    # One kWh counts as one kilogram of CO2, so that `flush` says kWh; the country's own share comes later.
    tracker = codecarbon.OfflineEmissionsTracker(
        country_iso_code='USA', force_carbon_intensity_g_co2e_kwh=1000.0, tracking_mode='process', output_methods=[],
        allow_multiple_runs=True, log_level='critical')
    tracker.start()
    self._tracker = tracker

  def read(self):
    """kWh so far; None where codecarbon is not installed."""
    self._thread.join()
    return self._tracker.flush() if self._tracker else None

  def method(self):
    """How the number was got, for a person; None where there is none."""
    self._thread.join()
    if not self._tracker:
      return None
    parts = ' '.join(map(str, self._tracker._hardware))  # pylint: disable=protected-access
    counters = [name for name, sign in (('the processor', 'RAPL'), ('the GPU', 'GPU')) if sign in parts]
    if counters:
      return f'measured by the counters of {" and ".join(counters)}, the rest estimated (codecarbon)'
    return 'an estimate from the load of the processor and the size of the memory (codecarbon)'

  def close(self):
    """Ends the counting and its thread."""
    self._thread.join()
    if self._tracker:
      self._tracker.stop()


def costs(kwh, country, method):
  """What result.json holds of it: {'energy_kwh', 'co2_grams', 'country', 'energy_method'}; {} where kWh are None."""
  if kwh is None:
    return {}
  return {'energy_kwh': kwh, 'co2_grams': kwh * intensity(country), 'country': country or 'the world',
          'energy_method': method}


def figures(value, digits=3):
  """A measured number with so many digits that count, and all those before the point: '0.747', '12.3', '1,230'."""
  text = f'{value:.{digits}g}'
  return f'{value:,.0f}' if 'e+' in text else text


def describe(kwh, grams, country, method):
  """Energy as a person reads it: in Wh and g CO2e, and as the hours of a lamp."""
  hours = kwh * 1000 / LAMP
  size, unit = next((size, unit) for size, unit in ((1, 'hours'), (60, 'minutes'), (3600, 'seconds'))
                    if hours * size >= 2 or unit == 'seconds')
  lamp = f'{hours * size:.1f} {unit}'
  return (f'{figures(kwh * 1000)} Wh, {figures(grams)} g CO2e with the electricity of {country}, as much as an LED '
          f'lamp of {LAMP:.0f} W takes in {lamp}; {method}')
