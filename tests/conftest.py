"""What all tests share: quiet libraries, set up before the first of them is imported."""
from vit_jax import quiet

quiet.silence()
