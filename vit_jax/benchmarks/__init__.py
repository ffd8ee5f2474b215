"""What `vit_jax.benchmark` measures, and how: pieces of work in processes that take turns."""
