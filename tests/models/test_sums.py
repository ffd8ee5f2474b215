"""Sums against NumPy's of float64."""
import jax
import numpy as np
import pytest

from vit_jax import cpu
from vit_jax.models import sums


@pytest.mark.parametrize('new', [True, False])
@pytest.mark.parametrize('shape', [(64, 48), (13, 21), (1, 16), (8, 1)])
def test_they_are_numpys(shape, new, monkeypatch):
  monkeypatch.setattr(cpu, 'has_onednn', lambda: new)
  numbers = np.random.default_rng(0).normal(3, 1, shape).astype(np.float32)
  wanted = numbers.astype(np.float64)
  features, tokens = jax.jit(lambda numbers: (sums.over_features(numbers), sums.over_tokens(numbers)))(numbers)
  np.testing.assert_allclose(features, wanted.sum(1, keepdims=True), rtol=2e-6)
  np.testing.assert_allclose(tokens, wanted.sum(0), rtol=2e-6)


@pytest.mark.skipif(not cpu.has_onednn() or jax.default_backend() != 'cpu', reason='so on a CPU, from jax 0.11 on')
@pytest.mark.parametrize(('over', 'part'), [(sums.over_features, 12), (sums.over_tokens, 8)])
def test_what_is_added_is_not_written_to_memory(over, part):
  numbers = np.zeros((4096, 192), np.float32)
  compiled = cpu.compile_fast(jax.jit(lambda a, b: over((a - 1) * b)), numbers, numbers)
  assert compiled.memory_analysis().temp_size_in_bytes < 1.1 * numbers.nbytes / part
