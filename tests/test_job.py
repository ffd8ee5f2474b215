"""What a job decides before any step."""
import pytest

from configs import digits
from vit_jax import job as job_lib


@pytest.mark.parametrize(('sizes', 'expected'), [
    ((), [8] * 10), ((4, 8), [4] * 5 + [8] * 5), ((2, 4, 8), [2] * 4 + [4] * 3 + [8] * 3)])
def test_training_is_cut_into_equal_parts_one_for_each_size(sizes, expected):
  config = digits.get_config()
  config.augment.sizes = sizes
  job = job_lib.Job(config, data=None, model=None, mesh=None, tx=None, rate=None, total_steps=10, eval_every=5)
  assert [job.size_at(step) for step in range(10)] == expected
  assert job.size_at(10) == 8
