"""Mimetic first weights: the products that the paper asks for, and nothing else changed."""
from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vit_jax.models import initial
from vit_jax.models import variants

WIDTH, HEADS = 64, 4


@pytest.fixture(scope='module')
def params():
  model = variants.build('small-digits', num_classes=3, image_size=8)
  assert (model.hidden_size, model.num_heads) == (WIDTH, HEADS)
  return model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)), train=False)['params']


def kernels(params, block):
  return {name: np.asarray(layer['kernel'], np.float64) for name, layer in
          params['Transformer'][f'encoderblock_{block}']['MultiHeadDotProductAttention_1'].items()}


def test_only_kernels_of_the_attention_change(params):
  before, after = (traverse_util.flatten_dict(p) for p in (params, initial.mimetic(jax.random.key(1), params)))
  changed = {path for path in before if not np.array_equal(before[path], after[path])}
  assert {path[-2:] for path in changed} == {(name, 'kernel') for name in ('query', 'key', 'value', 'out')}
  assert all('MultiHeadDotProductAttention_1' in path for path in changed) and len(changed) == 8
  assert jax.tree.map(jnp.shape, before) == jax.tree.map(jnp.shape, after)


@pytest.mark.parametrize('block', [0, 1])
def test_value_times_out_is_noise_minus_the_identity(params, block):
  found = kernels(initial.mimetic(jax.random.key(1), params), block)
  product = found['value'].reshape(WIDTH, WIDTH) @ found['out'].reshape(WIDTH, WIDTH)
  rest = product + 0.4 * np.eye(WIDTH)
  # N(0, 0.4²/D): its mean, its size, and no more of the identity in it; five standard errors.
  assert abs(rest.std() - 0.4 / np.sqrt(WIDTH)) < 5 * 0.4 / np.sqrt(WIDTH) / np.sqrt(2 * WIDTH**2)
  assert abs(np.diag(rest).mean()) < 5 * 0.4 / WIDTH


def test_query_times_key_is_the_nearest_product_of_its_rank(params):
  """Against numpy: Eckart and Young's theorem says how near it is, and each head's noise is its own."""
  found = kernels(initial.mimetic(jax.random.key(1), params), 0)
  products = np.einsum('dhk,ehk->hde', found['query'], found['key'])
  diagonals = [np.diag(product).mean() for product in products]
  # A quarter of the singular values is kept, the largest ones.
  noise = np.random.default_rng(0).normal(0, 1 / np.sqrt(WIDTH), (50, WIDTH, WIDTH))
  u, s, vt = np.linalg.svd(0.7 * noise + 0.7 * np.eye(WIDTH))
  rank = WIDTH // HEADS
  nearest = np.einsum('ndk,nk,nke->nde', u[:, :, :rank], s[:, :rank], vt[:, :rank])
  expected = [np.diag(product).mean() for product in nearest]
  assert abs(np.mean(diagonals) - np.mean(expected)) < 5 * np.std(expected) / np.sqrt(HEADS)
  for product in products:
    assert np.linalg.matrix_rank(product, tol=1e-4) == rank
    sizes = np.linalg.svd(product, compute_uv=False)[:rank]
    np.testing.assert_allclose(sizes, s[:, :rank].mean(axis=0), rtol=.15)
  assert abs(np.corrcoef(products[0].ravel(), products[1].ravel())[0, 1]) < .5
  np.testing.assert_allclose(np.square(found['query']).sum(), np.square(found['key']).sum(), rtol=1e-5)
