"""CIFAR-10's cats against dogs, from weights that come with vit_jax: five minutes on two cores.

    python -m vit_jax.main --config=configs/finetune_small.py

The weights (`cifar10`, see their card) learned from Tiny ImageNet and then from CIFAR-10's training part; they saw no
test picture of either set. It reached 87.2 % (experiments/transfer).

Take other classes with --config.data.classes, or your own pictures with --config.data.name=folder
--config.data.path=~/pictures --config.data.classes="()" --config.data.clear_of="()"; for pictures that are nothing like
CIFAR-10's ten classes, --config.init=tiny_imagenet has seen more.
"""
from ml_collections import config_dict

from configs import common


def get_config():
  """All layers learn, at a fifth of the rates from scratch."""
  config = common.get_config()
  config.init = 'cifar10'
  config.data.name = 'cifar10'
  config.data.classes = ('cat', 'dog')
  config.data.image_size = 64
  config.data.val_fraction = 0.05
  config.data.clear_of = ('cifar10', 'tiny_imagenet')
  config.epochs = 3.0
  config.eval_epochs = 1.5
  config.model.patch_dropout = 0.25
  config.optim.name = 'muon'
  config.optim.lr = 6e-4
  config.optim.muon_lr = 4e-3
  config.optim.warmup_epochs = 0.5
  config.augment.flip = True
  config.augment.crop_padding = 0
  config.augment.crop_scale = 0.5
  config.augment.cutmix = 0.25
  with config.unlocked():
    config.model.variant = config_dict.placeholder(str)
  return config
