"""Curves by hand, a network whose evidence is known, and scipy-free statistics."""
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vit_jax.errors import BadInput
from vit_jax.explain import explainer
from vit_jax.explain import faithfulness
from vit_jax.models import vit


def brightness(where):
  """A network that knows one thing: class 1 is as probable as the pixels there, (rows, columns), are bright."""
  def answer(images):
    p = images[:, where[0], where[1]].mean(axis=(1, 2, 3)) / 255
    return np.stack([1 - p, p], axis=1).astype(np.float32)
  return answer


def test_curves_by_hand():
  # Four patches of 2×2; the network looks at the one at the top right, which is white, as is the rest.
  images = np.full((1, 4, 4, 3), 255, np.uint8)
  answer, ones = brightness((slice(0, 2), slice(2, 4))), np.array([1])
  maps = np.array([[[.1, .7], [.3, .9]]], np.float32)  # Bottom right first, top right second.
  gone = faithfulness.curves(answer, images, np.zeros_like(images), maps, ones, steps=4)
  np.testing.assert_allclose(gone, [[1, 1, 0, 0, 0]])
  assert faithfulness.areas(gone)[0] == pytest.approx((1 + .5 + 0 + 0) / 4)
  come = faithfulness.curves(answer, np.zeros_like(images), images, maps, ones, steps=2)
  np.testing.assert_allclose(come, [[0, 1, 1]])
  assert faithfulness.areas(come)[0] == pytest.approx((.5 + 1) / 2)


def test_areas_are_those_of_trapezoids():
  curve = np.random.default_rng(0).random((3, 8))
  np.testing.assert_allclose(faithfulness.areas(curve), np.trapezoid(curve, np.linspace(0, 1, 8), axis=1))


def test_ranks_have_equals_in_reading_order():
  maps = np.array([[[.5, .9], [.5, .1]]], np.float32)
  np.testing.assert_array_equal(faithfulness.ranks(maps), [[[1, 0], [2, 3]]])


def test_pasted_patches_are_where_the_map_says():
  images, others = np.zeros((1, 4, 6, 3), np.uint8), np.full((1, 4, 6, 3), 9, np.uint8)
  where = np.array([[[False, True, False], [False, False, True]]])
  got = faithfulness.paste(images, others, where)[0, ..., 0]
  np.testing.assert_array_equal(got, [[0, 0, 9, 9, 0, 0]] * 2 + [[0, 0, 0, 0, 9, 9]] * 2)
  with pytest.raises(BadInput, match='map of 3×3 patches does not fit pictures of 4×6 pixels'):
    faithfulness.paste(images, others, np.zeros((1, 3, 3), bool))


def test_a_blurred_picture_has_its_colours_and_no_edge():
  images = np.zeros((1, 32, 32, 3), np.uint8)
  images[:, :, 16:] = (250, 100, 0)
  soft = faithfulness.blurred(images).astype(int)
  assert abs(np.diff(soft, axis=2)).max() < 30 and abs(np.diff(images.astype(int), axis=2)).max() == 250
  np.testing.assert_allclose(soft.mean(axis=(1, 2)), images.mean(axis=(1, 2)), atol=2)


def evidence_maps(count, rng):
  """Maps of 4×4 patches that put the patch (1, 2) first, the rest by chance."""
  maps = rng.random((count, 4, 4), np.float32)
  maps[:, 1, 2] = 2
  return maps


def test_the_map_that_knows_the_evidence_beats_chance_and_a_wrong_one_loses():
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (40, 16, 16, 3), np.uint8)
  images[:, 4:8, 8:12] = 255
  right = evidence_maps(40, rng)
  answer = brightness((slice(4, 8), slice(8, 12)))
  found, traced = faithfulness.measure(answer, images, {'right': right, 'wrong': -right}, np.ones(40, int),
                                       num_random=3)
  assert found.keys() == set(itertools.product(('right', 'wrong'), ('deletion', 'insertion')))
  assert traced.keys() == set(itertools.product(('right', 'wrong', 'chance'), ('deletion', 'insertion')))
  for name, kind in found:
    assert found[name, kind].area == pytest.approx(faithfulness.areas(traced[name, kind]).mean())
    assert found[name, kind].reference == pytest.approx(faithfulness.areas(traced['chance', kind]).mean(), rel=1e-5)
  for kind in ('deletion', 'insertion'):
    right, wrong = found['right', kind], found['wrong', kind]
    assert right.gain > 4 * right.standard_error > 0 and right.p_value < 1e-6 and right.better > .9
    assert wrong.gain < -4 * wrong.standard_error < 0 and wrong.better < .1
  assert found['right', 'deletion'].area < found['right', 'deletion'].reference
  assert found['right', 'insertion'].area > found['right', 'insertion'].reference


def test_chance_is_not_better_than_chance():
  rng = np.random.default_rng(1)
  images = np.full((60, 16, 16, 3), 255, np.uint8)
  maps = {'guess': faithfulness.random_maps(rng, (60, 4, 4))}
  found, _ = faithfulness.measure(brightness((slice(0, 4), slice(0, 4))), images, maps, np.ones(60, int))
  deletion = found['guess', 'deletion']
  assert abs(deletion.gain) < 3 * deletion.standard_error and deletion.p_value > .01 and .3 < deletion.better < .7
  # A blurred white picture is white: there is nothing to insert, and nothing to be found.
  assert (found['guess', 'insertion'].gain, found['guess', 'insertion'].p_value) == (0, 1)


def test_occlusion_finds_the_one_patch_that_counts():
  images = np.full((2, 8, 8, 3), 255, np.uint8)
  maps = faithfulness.occlusion_maps(brightness((slice(2, 4), slice(6, 8))), images, np.array([1, 0]), (4, 4))
  expected = np.zeros((4, 4))
  expected[1, 3] = 1 - faithfulness.GREY / 255
  np.testing.assert_allclose(maps[0], expected, atol=1e-6)
  np.testing.assert_allclose(maps[1], -expected, atol=1e-6)  # Its absence speaks for class 0.


def test_rounding_is_no_finding():
  near = lambda images: np.float32([[1 - 6e-8 * i, 0] for i in range(len(images))])
  image = np.zeros((8, 8, 3), np.uint8)
  assert not faithfulness.occlusion_map(near, image, 0, np.float32(1), (2, 2)).any()
  assert not faithfulness.occlusion_maps(near, image[None], np.array([0]), (2, 2)).any()


def test_the_map_of_the_centre():
  maps = faithfulness.centre_maps((2, 3, 4))
  assert maps.shape == (2, 3, 4)
  order = faithfulness.ranks(maps)[0]
  assert set(order[1, 1:3]) == {0, 1} and set(order[[0, 0, 2, 2], [0, 3, 0, 3]]) == {8, 9, 10, 11}


def test_comparison_by_hand():
  ours, theirs = np.array([.1, .2, .3, .4, .5]), np.array([.2, .4, .6, .8, .5])
  found = faithfulness.compare(ours, theirs, -1)
  assert (found.area, found.reference, found.gain) == pytest.approx((.3, .5, .2))
  gains = [.1, .2, .3, .4, 0]
  assert found.standard_error == pytest.approx(np.sqrt(sum((g - .2) ** 2 for g in gains) / 4 / 5))
  assert found.better == pytest.approx(.9)
  # Signed ranks, the tie left out: the four differences all have one sign, as in two of the sixteen cases.
  assert found.p_value == pytest.approx(2 / 16)
  assert faithfulness.compare(ours, ours, +1).p_value == 1


def seeing_vit():
  """A ViT, made by hand, whose class 1 is the light in the brightest patch: -> (model, parameters).

  Patches are (brightness, 1, 0, …), the class token (0, 1, 0, …): bright patches have a key that every query seeks,
  and a value that the head reads.
  """
  model = vit.VisionTransformer(num_classes=2, patch_size=4, hidden_size=8, num_layers=1, num_heads=1, mlp_dim=4)
  like = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 16, 16, 3)), train=False))['params']
  params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), like)
  params['embedding']['kernel'][..., 0] = 1 / 48
  params['embedding']['bias'][1] = params['cls'][..., 1] = 1
  block = params['Transformer']['encoderblock_0']
  for norm in (block['LayerNorm_0'], params['Transformer']['encoder_norm']):
    norm['scale'][:] = 1
  msa = block['MultiHeadDotProductAttention_1']
  msa['query']['bias'][0, 0] = 4
  msa['key']['kernel'][0, 0, 0] = msa['value']['kernel'][0, 0, 0] = msa['out']['kernel'][0, 0, 0] = 1
  params['head']['kernel'][0, 1] = 3
  return model, params


def test_a_vits_relevance_finds_the_patch_that_it_looks_for():
  model, params = seeing_vit()
  seer = explainer.Explainer(model, params, ('dark', 'light'), 16)
  rng = np.random.default_rng(0)
  places = [tuple(place) for place in rng.integers(0, 4, (24, 2))]
  images = rng.integers(0, 100, (24, 16, 16, 3), np.uint8)  # All darker than grey, but one patch.
  for image, (y, x) in zip(images, places, strict=True):
    image[4 * y:4 * y + 4, 4 * x:4 * x + 4] = 255
  classes = np.ones(24, int)
  look = seer.look(images, classes[:, None])
  for maps in (look.relevance[:, 0], look.rollout):
    assert [np.unravel_index(one.argmax(), (4, 4)) for one in maps] == places
  maps = {'relevance': look.relevance[:, 0]}
  found, _ = faithfulness.measure(seer.probabilities, images, maps, classes, num_random=2)
  assert all(one.gain > 4 * one.standard_error and one.better > .8 for one in found.values()), found
