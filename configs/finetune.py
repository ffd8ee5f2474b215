"""Any ViT's weights on any data, as the paper fine-tunes (appendix B.1.1): SGD with momentum, cosine, no weight decay.

    python -m vit_jax.main --config=configs/finetune.py --config.init=path/to/weights

The model is the weights' own, and so is the size of the pictures unless --config.data.image_size says another; then
positions are resized. Data as in every recipe, e.g. --config.data.name=folder --config.data.path=~/pictures
--config.data.classes="()". --config.optim.layer_decay=0 trains the head alone, a number below 1 the lower blocks more
slowly; --config.optim.name=adamw with --config.optim.lr=1e-4 is the other usual way.
"""
from ml_collections import config_dict

from configs import common


def get_config():
  """Five epochs over CIFAR-10's cats and dogs, unless other data are named."""
  config = common.get_config()
  config.data.name = 'cifar10'
  config.data.classes = ('cat', 'dog')
  config.data.val_fraction = 0.05
  config.epochs = 5.0
  config.eval_epochs = 1.0
  config.optim.name = 'sgd'
  config.optim.lr = 0.01
  config.optim.weight_decay = 0.0
  config.optim.warmup_epochs = 0.5
  config.label_smoothing = 0.0
  config.ema_decay = 0.0
  config.augment.flip = True
  config.augment.crop_padding = 0
  config.augment.crop_scale = 0.5
  with config.unlocked():
    config.init = config_dict.placeholder(str)
    config.model.variant = config_dict.placeholder(str)
    config.data.image_size = config_dict.placeholder(int)
  return config
