"""The ViT in PyTorch is the same ViT: with our weights it gives our answers."""
from flax import traverse_util
import jax
import numpy as np
import pytest

from vit_jax.benchmarks import ours
from vit_jax.benchmarks.setting import Setting
from vit_jax.models import vit
from vit_jax.weights import outward

pytestmark = pytest.mark.slow  # To import torch takes seconds.
SIZES = dict(batch_size=4, tokens=9, width=128, depth=2)


@pytest.fixture(scope='module')
def twin():
  """The module, where torch is installed."""
  pytest.importorskip('torch', reason="needs pip install 'vit_jax[benchmarks]'")
  from vit_jax.benchmarks import twin
  return twin


@pytest.fixture(scope='module')
def job():
  return ours.made_up_job(Setting('train', **SIZES))


@pytest.mark.parametrize('framework', ['torch', 'timm'])
def test_same_weights_same_answers(twin, job, framework):
  import torch
  if framework == 'timm':
    pytest.importorskip('timm', reason="needs pip install 'vit_jax[benchmarks]'")
  rng = np.random.default_rng(0)
  params = jax.tree.map(lambda leaf: rng.normal(0, .3, leaf.shape).astype(np.float32), job.abstract_state.params)
  work = twin.make(Setting('predict', framework=framework, way='eager', **SIZES))
  assert work.facts()['parameters'] == vit.num_params(params)

  # timm's GELU is the function itself unless a model asks for another.
  model = job.model.clone(gelu='erf' if framework == 'timm' else 'tanh')
  named, _ = outward.to_timm(traverse_util.flatten_dict(params, sep='/'), model, job.data.class_names, 12)
  work.plain.load_state_dict({name: torch.from_numpy(leaf.copy()) for name, leaf in named.items()})
  images = work.images.numpy()
  np.testing.assert_array_equal(images, ours.first_batch(job)['image'])
  expected = jax.nn.softmax(model.apply({'params': params}, images / np.float32(127.5) - 1, train=False))
  np.testing.assert_allclose(work.step(), expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_it_learns_its_batch(twin, dtype):
  work = twin.make(Setting('train', dtype, framework='torch', way='eager', **SIZES))
  first = float(work.step())
  assert first == pytest.approx(np.log(10), abs=1)
  work.run(20)
  assert float(work.step()) < first / 2
  assert all(leaf.dtype == work.plain.pos_embed.dtype for leaf in work.plain.parameters())


@pytest.mark.parametrize(('way', 'kernel'), [('eager', 'aten::_scaled_dot_product_flash_attention_for_cpu'),
                                             ('eager math', 'aten::_scaled_dot_product_attention_math')])
def test_attention_is_what_was_asked_for(twin, way, kernel):
  from torch import profiler
  work = twin.make(Setting('train', framework='torch', way=way, **SIZES))
  with profiler.profile(activities=[profiler.ProfilerActivity.CPU]) as found:
    loss = float(work.step())
  assert kernel in {event.key for event in found.key_averages()}
  assert loss == pytest.approx(float(twin.make(Setting('train', framework='torch', way='eager', **SIZES)).step()))


def test_bfloat16_is_in_the_activations(twin):
  import torch
  for dtype, expected in (('float32', torch.float32), ('bfloat16', torch.bfloat16)):
    work = twin.make(Setting('predict', dtype, framework='torch', way='eager', **SIZES))
    with torch.no_grad():
      assert work.logits().dtype == expected
    assert work.step().dtype == np.float32
