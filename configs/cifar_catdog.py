"""CIFAR-10's cats against dogs, from scratch: 10,000 pictures of 32×32 pixels, no other data.

    python -m vit_jax.main --config=configs/cifar_catdog.py
"""
from configs import common


def get_config():
  """A conv-stem ViT of 0.34 M parameters with convolutional positions, trained by Muon beside AdamW."""
  config = common.get_config()
  config.data.name = 'cifar10'
  config.data.classes = ('cat', 'dog')
  config.data.image_size = 32
  config.data.val_fraction = 0.05
  config.model.variant = 'small-conv'
  config.epochs = 40.0
  config.optim.name = 'muon'
  config.optim.lr = 3e-3
  config.optim.grad_clip = 0.0
  config.ema_decay = 0.995
  config.augment.flip = True
  config.augment.crop_padding = 4
  config.augment.cutmix = 0.25
  return config
