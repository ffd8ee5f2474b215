"""Features against Flax's own record of what the modules put out."""
from flax import traverse_util
import jax
import numpy as np
import pytest

from vit_jax.models import features
from vit_jax.models import variants

SMALL = dict(hidden_size=16, mlp_dim=32, num_layers=2)


def made(name, **sizes):
  """A model with random weights, and pictures."""
  model = variants.build(name, num_classes=3, image_size=8, **sizes)
  rng = np.random.default_rng(0)
  params = jax.tree.map(lambda leaf: rng.normal(0, .5, leaf.shape).astype(np.float32),
                        variants.abstract_params(model, 8))
  return model, params, rng.integers(0, 256, (5, 8, 8, 3), np.uint8)


@pytest.mark.parametrize('classifier', ['gap', 'token', 'distilled', 'gap+token'])
def test_they_are_what_the_modules_put_out(classifier):
  model, params, images = made('small-digits', classifier=classifier, **SMALL)
  logits, seen = model.apply({'params': params}, images / np.float32(127.5) - 1, train=False,
                             capture_intermediates=True, mutable='intermediates')
  encoder = seen['intermediates']['Transformer']
  last, read = np.asarray(encoder['encoderblock_1']['__call__'][0]), np.asarray(encoder['encoder_norm']['__call__'][0])
  of_head = {'gap': read.mean(axis=1), 'token': read[:, 0], 'gap+token': read[:, 1:].mean(axis=1),
             'distilled': np.concatenate([read[:, 0], read[:, 1]], axis=1)}[classifier]
  found, answers = jax.jit(features.features_and_logits, static_argnums=0)(model, params, images)
  np.testing.assert_allclose(answers, logits, atol=1e-5)
  np.testing.assert_allclose(found, np.concatenate([of_head, last.mean(axis=1), last.std(axis=1)], axis=1), atol=1e-5)
  assert features.width(traverse_util.flatten_dict(params, sep='/')) == (of_head.shape[1], found.shape[1])


def test_a_representation_is_what_the_head_reads():
  model, params, images = made('small-digits', representation_size=7, **SMALL)
  found, logits = features.features_and_logits(model, params, images)
  np.testing.assert_allclose(found[:, :7] @ params['head']['kernel'] + params['head']['bias'], logits, atol=1e-4)
  assert features.width(traverse_util.flatten_dict(params, sep='/')) == (7, 7 + 2 * 16)


def test_a_resnet_has_those_of_its_head_alone():
  model, params, images = made('resnet-small', stage_features=(16, 32), stem_channels=(16,))
  found, logits = features.features_and_logits(model, params, images)
  want = model.clone(num_classes=0).apply({'params': params}, images / np.float32(127.5) - 1, train=False)
  np.testing.assert_allclose(found, want, atol=1e-4)
  np.testing.assert_allclose(found @ params['head']['kernel'] + params['head']['bias'], logits, atol=1e-3)
  assert features.width(traverse_util.flatten_dict(params, sep='/')) == (32, 32)
