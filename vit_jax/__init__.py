"""vit_jax: the Vision Transformer in JAX/Flax, for small data and small machines."""

__version__ = '0.1.0'
