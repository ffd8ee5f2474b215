"""The numbers behind the figures against scikit-learn and by hand; the drawings by being drawn."""
import io
import math
import sys

import jax
import numpy as np
from PIL import Image
import pytest
from sklearn import decomposition

from vit_jax.errors import BadInput
from vit_jax.explain import explainer
from vit_jax.explain import figures
from vit_jax.models import variants
from vit_jax.models import vit


def random_params(model, size):
  rng = np.random.default_rng(0)
  return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32),
                      variants.abstract_params(model, size))


def linear(**changes):
  return vit.VisionTransformer(**dict(num_classes=2, patch_size=4, hidden_size=12, num_layers=2, num_heads=2, mlp_dim=8)
                               | changes)


def test_filters_are_the_principal_components():
  model = linear()
  params = random_params(model, 8)
  pictures, about = figures.filters(model, params, count=5)
  oracle = decomposition.PCA(5, svd_solver='full').fit(params['embedding']['kernel'].reshape(48, 12).T)
  assert pictures.shape == (5, 4, 4, 3) and pictures.min() >= 0 and pictures.max() <= 1
  for got, expected in zip(pictures, oracle.components_, strict=True):
    got = (got.ravel() - .5) / np.linalg.norm(got.ravel() - .5)
    assert abs(got @ expected) == pytest.approx(1, abs=1e-4)  # Up to the sign, which a component has not.
  share = f'{oracle.explained_variance_ratio_.sum():.0%}'
  assert about == f'5 components of 12 filters, {share} of their variance'


@pytest.mark.parametrize('name, layer, side', [
    ('small-conv', 'stem_conv_0', 3), ('small-digits', 'embedding', 3), ('R+ViT-Ti_16', 'conv_root', 7)])
def test_filters_of_convolutions_are_the_strongest_kernels(name, layer, side):
  model = variants.build(name, num_classes=2)
  params = random_params(model, 32)
  pictures, about = figures.filters(model, params)
  kernel = params[layer]['kernel']
  strongest = kernel[..., np.linalg.norm(kernel.reshape(-1, kernel.shape[-1]), axis=0).argmax()]
  assert pictures.shape == (28, side, side, 3) and about.startswith(f'the 28 strongest of {kernel.shape[-1]} {side}×')
  np.testing.assert_allclose(pictures[0], .5 + .5 * strongest / np.abs(strongest).max(), atol=1e-6)


def test_positions_are_without_the_tokens_in_front():
  model = linear(classifier='distilled')
  params = random_params(model, 8)
  table = params['Transformer']['posembed_input']['pos_embedding']
  assert table.shape == (1, 6, 12)
  np.testing.assert_array_equal(figures.positions(model, params, (2, 2)), table[0, 2:])


def test_similarity_is_the_cosine_and_of_fixed_positions_known():
  table = np.array([[1, 0], [1, 1], [0, 3], [-2, 0]], np.float32)
  similar = figures.similarity(table, (2, 2))
  half = math.sqrt(.5)
  np.testing.assert_allclose(similar[0, 0], [[1, half], [0, -1]], atol=1e-6)
  np.testing.assert_allclose(similar[0, 1], [[half, 1], [half, -half]], atol=1e-6)
  model = linear(posemb='sincos2d', hidden_size=8)
  fixed = figures.similarity(figures.positions(model, {}, (3, 3)), (3, 3))
  # Two frequencies, 1 and 1/10,000: the cosine is the mean of cos(Δω) over both axes and both frequencies.
  assert fixed[0, 0, 1, 2] == pytest.approx((math.cos(2) + math.cos(2e-4) + math.cos(1) + math.cos(1e-4)) / 4, abs=1e-5)


def test_even_attention_has_the_mean_distance_of_two_patches():
  assert figures.even_distance(linear(), (1, 2)) == pytest.approx(2)  # 0, 4, 4, 0 pixels.


def test_tiles_by_hand():
  sheet = figures.tile(np.arange(3.)[:, None, None], 2, 9)
  np.testing.assert_array_equal(sheet, [[9, 9, 9, 9, 9], [9, 0, 9, 1, 9], [9, 9, 9, 9, 9], [9, 2, 9, 9, 9],
                                        [9, 9, 9, 9, 9]])


def picture(figure):
  """A matplotlib Figure as pixels."""
  file = io.BytesIO()
  figure.savefig(file, format='png', dpi=50)
  return np.asarray(Image.open(file).convert('RGB'))


@pytest.mark.parametrize('model', [linear(), linear(stem='conv', stem_channels=(8,), patch_size=2, posemb='sincos2d')])
def test_figures_are_drawn(model):
  pytest.importorskip('matplotlib', reason='figures are an optional extra')
  seer = explainer.Explainer(model, random_params(model, 12), ('a', 'b'), 12)
  mean = np.random.default_rng(0).dirichlet(np.ones(9), (2, 2, 9)).astype(np.float32)
  figure = figures.figure_7(seer, mean)
  left, centre, right = figure.subfigs
  shown = centre.axes[0].images[0].get_array()
  similar = figures.similarity(figures.positions(model, seer.params, (3, 3)), (3, 3))
  np.testing.assert_allclose(shown[1:4, 9:12], similar[0, 2], atol=1e-6)  # The tile at the top right.
  assert 'similarity' in centre.get_suptitle()
  assert 'First layer' in left.get_suptitle()
  points = np.concatenate([line.get_ydata() for line in right.axes[0].lines[:2]]).reshape(2, 2).T
  np.testing.assert_allclose(points, seer.distances(mean))
  assert picture(figure).std() > 10
  heads = figures.figure_heads(mean, (3, 3))
  assert len(heads.axes) == 4 + 1 and picture(heads).std() > 10


def test_without_matplotlib_the_way_out_is_named(monkeypatch):
  monkeypatch.setitem(sys.modules, 'matplotlib.figure', None)
  with pytest.raises(BadInput, match=r"need matplotlib, .*: pip install 'vit_jax\[figures\]'"):
    figures.figure()
