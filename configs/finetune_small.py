"""CIFAR-10's cats against dogs, from weights that come with vit_jax: five minutes on two cores.

    python -m vit_jax.main --config=configs/finetune_small.py

The weights (`tiny_imagenet`, see their card) learned Tiny ImageNet's 200 classes; they saw no picture of CIFAR-10. It
reached @ACC@ % (experiments/transfer).

Take other classes with --config.data.classes, or your own pictures with --config.data.name=folder
--config.data.path=~/pictures --config.data.classes="()" --config.data.clear_of="()".
"""
from ml_collections import config_dict

from configs import common


def get_config():
  """All layers learn, at a fifth of the rates from scratch."""
  config = common.get_config()
  config.init = 'tiny_imagenet'
  config.data.name = 'cifar10'
  config.data.classes = ('cat', 'dog')
  config.data.val_fraction = 0.05
  config.data.clear_of = ('cifar10', 'tiny_imagenet')
  config.epochs = 5.0
  config.eval_epochs = 1.25
  config.optim.name = 'muon'
  config.optim.lr = 6e-4
  config.optim.muon_lr = 4e-3
  config.optim.warmup_epochs = 0.5
  config.ema_decay = 0.995
  config.augment.flip = True
  config.augment.crop_padding = 4
  config.augment.cutmix = 0.25
  with config.unlocked():
    config.model.variant = config_dict.placeholder(str)
    config.data.image_size = config_dict.placeholder(int)
  return config
