"""CIFAR-10's cats against dogs, from the Tiny ImageNet weights that come with vit_jax: five minutes on two cores.

    python -m vit_jax.main --config=configs/finetune_small.py

The weights saw no test picture of either set (see their card). Take other classes with --config.data.classes, or your
own pictures with --config.data.name=folder --config.data.path=~/pictures --config.data.classes="()".
"""
from ml_collections import config_dict

from configs import common


def get_config():
  """All layers learn, at a fifth of the rates from scratch."""
  config = common.get_config()
  config.init = 'tiny_imagenet'
  config.data.name = 'cifar10'
  config.data.classes = ('cat', 'dog')
  config.data.image_size = 64
  config.data.val_fraction = 0.05
  config.data.clear_of = ('cifar10', 'tiny_imagenet')
  config.epochs = 4.0
  config.eval_epochs = 2.0
  config.optim.name = 'muon'
  config.optim.lr = 6e-4
  config.optim.muon_lr = 4e-3
  config.optim.warmup_epochs = 0.5
  config.augment.flip = True
  config.augment.crop_padding = 8
  with config.unlocked():
    config.model.variant = config_dict.placeholder(str)
  return config
