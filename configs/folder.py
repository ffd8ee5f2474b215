"""Your own pictures: a folder with a folder for each class in it.

    python -m vit_jax.main --config=configs/folder.py --config.data.path=~/pictures

What is None here follows from the number of training pictures (vit_jax/defaults.py), is printed before training,
and can be given like any other key.
"""
from ml_collections import config_dict

from configs import common


def get_config():
  """A conv-stem ViT on pictures of 64×64 pixels, trained by Muon beside AdamW."""
  config = common.get_config()
  config.data.name = 'folder'
  config.data.image_size = 64
  config.optim.name = 'muon'
  config.optim.lr = 3e-3
  config.augment.flip = True
  config.augment.crop_padding = 8
  with config.unlocked():
    config.model.variant = config_dict.placeholder(str)
    config.batch_size = config_dict.placeholder(int)
    config.epochs = config_dict.placeholder(float)
    config.eval_epochs = config_dict.placeholder(float)
    config.optim.warmup_epochs = config_dict.placeholder(float)
    config.augment.cutmix = config_dict.placeholder(float)
  return config
