"""CIFAR-10's cats against dogs, from weights that come with vit_jax: four minutes on two cores.

    python -m vit_jax.main --config=configs/finetune_small.py

The weights (`cifar10`, see their card) learned CIFAR-10's ten classes from its training part; they saw no picture that
is tested here. It reached 90.7 % (experiments/transfer).

Take other classes with --config.data.classes, or your own pictures with --config.data.name=folder
--config.data.path=~/pictures --config.data.classes="()" --config.data.clear_of="()"; for pictures that are nothing like
CIFAR-10's ten classes, --config.init=tiny_imagenet has seen more.
"""
from ml_collections import config_dict

from configs import common


def get_config():
  """All layers learn, at a tenth of the rates from scratch."""
  config = common.get_config()
  config.init = 'cifar10'
  config.data.name = 'cifar10'
  config.data.classes = ('cat', 'dog')
  config.data.val_fraction = 0.05
  config.data.clear_of = ('cifar10', 'tiny_imagenet')
  config.epochs = 6.0
  config.eval_epochs = 1.5
  config.optim.name = 'muon'
  config.optim.lr = 3e-4
  config.optim.muon_lr = 2e-3
  config.optim.warmup_epochs = 0.5
  config.ema_decay = 0.995
  config.augment.flip = True
  config.augment.crop_padding = 4
  config.augment.cutmix = 0.25
  with config.unlocked():
    config.model.variant = config_dict.placeholder(str)
    config.data.image_size = config_dict.placeholder(int)
  return config
