"""What all tests share: quiet libraries and quick compiling, set up before the first of them is imported."""
import os

from vit_jax import quiet

# Programs that run for a moment need no optimising, which takes half of these tests' time. The commands that tests
# start inherit it. With 0 in its place everything runs as users have it, and must pass as well.
os.environ.setdefault('JAX_DISABLE_MOST_OPTIMIZATIONS', '1')
quiet.silence()
