"""Cats against dogs with the paper's own front end: linear patches, class token, learned positions.

    python -m vit_jax.main --config=configs/cifar_catdog_paper.py

All else is as in cifar_catdog.py, so that the difference between the two is what convolutions before and between the
blocks, fixed positions, pooling and CutMix are worth together when there are 10,000 pictures.
"""
from configs import cifar_catdog


def get_config():
  """The blocks of cifar_catdog.py behind 4×4-pixel patches."""
  config = cifar_catdog.get_config()
  config.model.stem = 'linear'
  config.model.patch_size = 4
  config.model.classifier = 'token'
  config.model.posemb = 'learned'
  config.model.conv_positions = False
  config.augment.cutmix = 0.0  # For models that over-fit; this one is not through with the plain pictures yet.
  return config
