"""The CPU fast path: pages counted by the kernel, plain jax.jit, and made-up processors."""
import functools
import io
import platform
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vit_jax import cpu
from vit_jax import losses
from vit_jax.models import variants

on_glibc = pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='tunes glibc only')

# 320 MiB, taken and freed again and again: how many pages does the kernel have to hand out anew?
COUNT_FAULTS = """
import ctypes, resource
from vit_jax import cpu
print(cpu.keep_pages() if {keep} else None)
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
def churn():
  block = ctypes.c_void_p(libc.malloc({mib} * 2**20))
  ctypes.memset(block, 1, {mib} * 2**20)
  libc.free(block)
churn()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
  churn()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@on_glibc
@pytest.mark.parametrize('mib', [320, 2300])  # The highest number for the bound above which glibc trims is 2 GiB.
def test_keep_pages_keeps_pages(mib):
  def run(keep):
    command = [sys.executable, '-c', COUNT_FAULTS.format(keep=keep, mib=mib)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    took_effect, faults = done.stdout.split()
    return took_effect, int(faults)
  took_effect, faults = run(True)
  assert took_effect == 'True' and faults < 50
  assert run(False)[1] >= 3 * mib // 2  # Even in huge pages of 2 MiB: the test can tell the difference.


def test_keep_pages_says_no_elsewhere(monkeypatch):
  monkeypatch.setattr(platform, 'libc_ver', lambda: ('', ''))
  assert cpu.keep_pages() is False


def small_vit(dtype):
  """A ViT's forward pass and its training gradient, with arguments for them."""
  model = variants.build('ViT-Ti_16', num_classes=3, patch_size=4, num_layers=1, hidden_size=32,
                         num_heads=2, mlp_dim=64, dtype=dtype)
  rng = np.random.default_rng(0)
  params = jax.tree.map(lambda leaf: 0.2 * rng.normal(size=leaf.shape).astype(np.float32),
                        variants.abstract_params(model, 16))
  images = rng.uniform(-1, 1, (8, 16, 16, 3)).astype(np.float32)
  targets = np.eye(3, dtype=np.float32)[np.arange(8) % 3]
  infer = lambda params, images: model.apply({'params': params}, images, train=False)
  loss = lambda params, images: losses.cross_entropy(infer(params, images), targets).mean()
  return {'infer': infer, 'gradient': jax.grad(loss)}, (params, images)


@functools.cache
def plain_result(what):
  """What plain jax.jit makes of the float32 model."""
  functions, args = small_vit(jnp.float32)
  return jax.jit(functions[what])(*args)


def assert_close(got, want, tolerance):
  """Each array's largest error is at most `tolerance` of the tree's largest value."""
  largest = max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(want))
  close = lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * largest)
  jax.tree.map(close, got, want)


@pytest.fixture
def warnings_logged(monkeypatch):
  """What cpu.py logs as warnings, formatted."""
  seen = []
  monkeypatch.setattr(cpu.logging, 'warning', lambda text, *args: seen.append(text % args))
  return seen


# float32 differs by the order of its sums; bfloat16 rounds to 8 bits, 0.4 %, at each layer.
@pytest.mark.parametrize('dtype, tolerance', [(jnp.float32, 1e-5), (jnp.bfloat16, 0.05)])
@pytest.mark.parametrize('what', ['infer', 'gradient'])
def test_compile_fast_equals_plain_float32(what, dtype, tolerance, warnings_logged):
  functions, args = small_vit(dtype)
  fast = cpu.compile_fast(jax.jit(functions[what]), *args)
  assert_close(fast(*args), plain_result(what), tolerance)
  assert not warnings_logged  # oneDNN's rewriter digests the model, in inference too.


@pytest.mark.skipif(not cpu.has_onednn(), reason='this jax is compiled for without options')
def test_a_recipes_gradient_needs_less_memory_than_in_the_order_of_the_default(monkeypatch):
  model = variants.build('small-conv', num_classes=2, image_size=32, num_layers=1, dtype=jnp.bfloat16)
  loss = lambda params, images: (model.apply({'params': params}, images, train=False) ** 2).mean()
  images = np.zeros((8, 32, 32, 3), np.float32)
  lowered = jax.jit(jax.grad(loss)).lower(variants.abstract_params(model, 32), images)
  temporary = lambda: cpu.compile_lowered(lowered).memory_analysis().temp_size_in_bytes
  ours = temporary()
  monkeypatch.delitem(cpu._OPTIONS, 'xla_cpu_scheduler_type')
  assert ours < 0.9 * temporary()


@pytest.mark.parametrize('flags, told', [({'avx512f', 'amx_bf16'}, True), ({'avx512f', 'avx512_bf16'}, False)])
def test_long_vectors_are_for_processors_with_amx(flags, told, monkeypatch):
  monkeypatch.setattr(cpu, 'processor_flags', lambda: frozenset(flags))
  assert (cpu._options().get('xla_cpu_prefer_vector_width') == 512) is told


def test_compile_fast_falls_back_and_says_so(monkeypatch, warnings_logged):
  monkeypatch.setattr(cpu, '_OPTIONS', {'xla_no_such_option': True})
  monkeypatch.setattr(cpu, 'has_onednn', lambda: True)
  x = np.arange(6.0, dtype=np.float32).reshape(2, 3)
  product = cpu.compile_fast(jax.jit(lambda x: x @ x.T), x)
  np.testing.assert_allclose(product(x), x @ x.T)
  assert len(warnings_logged) == 1
  assert 'oneDNN is left out' in warnings_logged[0] and 'xla_no_such_option' in warnings_logged[0]


@pytest.mark.parametrize('version, flags, fast', [
    ('0.12.0', {'fma', 'avx512_bf16'}, True), ('0.12.0', {'amx_bf16'}, True),
    ('1.0.0', {'amx_bf16'}, True), ('0.12.0', {'fma', 'avx512f'}, False), ('0.12.0', set(), False),
    ('0.10.2', {'avx512_bf16'}, False)])
def test_fast_bfloat16_needs_instructions_and_a_new_jax(version, flags, fast, monkeypatch):
  monkeypatch.setattr(cpu, 'processor_flags', lambda: frozenset(flags))
  monkeypatch.setattr(jax, '__version__', version)
  assert cpu.has_fast_bfloat16() is fast


@pytest.mark.parametrize('fast, dtype', [(True, 'bfloat16'), (False, 'float32')])
def test_the_type_is_the_one_that_is_fast(fast, dtype, monkeypatch):
  monkeypatch.setattr(cpu, 'has_fast_bfloat16', lambda: fast)
  assert cpu.activation_dtype('auto') == jnp.dtype(dtype)
  assert [cpu.activation_dtype(name).name for name in ('float32', 'bfloat16')] == ['float32', 'bfloat16']


@pytest.mark.parametrize('text, flags', [
    ('processor\t: 0\nvmx flags\t: vnmi\nflags\t\t: fpu avx512_bf16\n\nprocessor\t: 1\n', {
        'fpu', 'avx512_bf16'}),
    ('processor\t: 0\nFeatures\t: fp asimd bf16\n', {'fp', 'asimd', 'bf16'}),
    ('processor\t: 0\n', set()), (None, set())])
def test_processor_flags(text, flags, monkeypatch):
  def fake_open(path):
    assert path == '/proc/cpuinfo'
    if text is None:
      raise FileNotFoundError(path)
    return io.StringIO(text)
  monkeypatch.setattr(cpu, 'open', fake_open, raising=False)
  assert cpu.processor_flags() == flags
