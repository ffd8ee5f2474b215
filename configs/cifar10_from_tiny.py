"""CIFAR-10's ten classes, from the Tiny ImageNet weights that come with vit_jax.

    python -m vit_jax.main --config=configs/cifar10_from_tiny.py

Training pictures that are nearly the same as a test picture of CIFAR-10 or of Tiny ImageNet are left out. It reached
89.2 % from the weights of tiny_imagenet_2h.py (experiments/transfer), and was not run from those that come with vit_jax
now, which are larger; cifar10.py takes twice as long from scratch.
"""
from configs import finetune_small


def get_config():
  """All layers learn, at half of the rates from scratch, with crops of other sizes and CutMix."""
  config = finetune_small.get_config()
  config.init = 'tiny_imagenet'
  config.data.classes = ()
  config.data.val_fraction = 0.02
  config.epochs = 12.0
  config.eval_epochs = 1.0
  config.ema_decay = 0.998
  config.optim.lr = 1.5e-3
  config.optim.muon_lr = 0.01
  config.augment.crop_padding = 0
  config.augment.crop_scale = 0.5
  return config
