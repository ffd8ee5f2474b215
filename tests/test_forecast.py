"""What a training would take, against numbers worked out by hand."""
import itertools
import types

import numpy as np
import pytest

from configs import digits
from vit_jax import forecast
from vit_jax import job as job_lib
from vit_jax.models import flops
from vit_jax.models import vit


@pytest.fixture(scope='module')
def job(tmp_path_factory):
  config = digits.get_config()
  config.optim.name = 'adamw'
  return job_lib.prepare(config, tmp_path_factory.mktemp('forecast'))


@pytest.fixture(scope='module')
def found(job):
  return forecast.forecast(job)


@pytest.mark.slow
def test_the_state_is_four_times_the_parameters(job, found):
  count = vit.num_params(job.abstract_state.params)
  # Parameters, their running mean, AdamW's two moments, and a few scalars, in float32.
  assert found['state'] == pytest.approx(4 * 4 * count, rel=.001, abs=200)
  batch = job.config.batch_size * (8 * 8 * 3 + 4)
  # The gradient is there besides, and what the backward pass needs.
  assert found['state'] + 4 * count + batch < found['memory'] < 100e6


@pytest.mark.slow
def test_a_step_costs_three_forward_passes(job, found):
  forward = flops.flops_per_image(job.model, 8)
  assert found['flops'] / (job.total_steps * job.config.batch_size) == pytest.approx(3 * forward, rel=.05)
  assert found['seconds'] == pytest.approx(found['flops'] / (found['speed'] * forecast.SHARE))


@pytest.mark.slow
def test_what_does_not_fit_is_said(job, found):
  assert 'it fits into' in forecast.describe(found | {'available': 2**40}, job, '')
  text = forecast.describe(found | {'available': 2**20, 'kwh': None}, job, '')
  assert 'it does NOT fit into 1.0 MiB' in text and "pip install 'vit_jax[energy]'" in text


def test_speed_and_watts_by_hand(monkeypatch):
  """Five looks at a clock that goes half a second each: three products in 2.5 s, meanwhile 25 J."""
  clock, counter = itertools.count(step=.5), itertools.count(1, 25 / 3.6e6)
  monkeypatch.setattr(forecast, 'time', types.SimpleNamespace(perf_counter=lambda: next(clock)))
  monkeypatch.setattr(forecast.energy, 'Meter', lambda: types.SimpleNamespace(read=lambda: next(counter), close=str))
  monkeypatch.setattr(forecast, 'SIDE', 8)
  speed, watts = forecast.measured(np.float32)
  assert speed == pytest.approx(2 * 8**3 * 3 / 2.5) and watts == pytest.approx(10)


@pytest.mark.slow
def test_half_of_what_is_left_of_the_memory_is_for_what_is_kept(job, found):
  needed = 2 * found['memory'] / .9
  assert 'it fits into' in forecast.describe(found | {'available': needed * 1.01}, job, '')
  assert 'it does NOT fit into' in forecast.describe(found | {'available': needed * .99}, job, '')
