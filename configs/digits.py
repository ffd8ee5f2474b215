"""Handwritten digits of 8×8 pixels (scikit-learn's, embedded): the first run, without a download.

    python -m vit_jax.main --config=configs/digits.py
"""
from configs import common


def get_config():
  """A ViT of 70 thousand parameters on 64 tokens, one for each pixel and its neighbours."""
  config = common.get_config()
  config.batch_size = 64
  config.epochs = 15.0
  config.optim.name = 'muon'
  config.optim.lr = 3e-3
  config.augment.crop_padding = 0
  return config
