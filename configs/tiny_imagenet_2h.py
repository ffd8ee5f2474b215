"""Tiny ImageNet in about two hours of two cores, from scratch, as weights that other recipes may start from.

    python -m vit_jax.main --config=configs/tiny_imagenet_2h.py

As tiny_imagenet.py, three and a half times as long and with stronger augmentation. Training pictures that are nearly
the same as a test picture of Tiny ImageNet or of CIFAR-10 are left out, so that models which start from these weights
can be tested on either. It reached 49.4 %, in 2 h 25 min of two cores with AVX2 beside other work
(experiments/tiny_imagenet); the weights of tiny_imagenet_10h.py, a longer run, come with vit_jax.
"""
from configs import tiny_imagenet


def get_config():
  """The short recipe with crops of other sizes and CutMix."""
  config = tiny_imagenet.get_config()
  config.data.clear_of = ('tiny_imagenet', 'cifar10')
  config.epochs = 14.0
  config.eval_epochs = 1.0
  config.optim.warmup_epochs = 0.5
  config.ema_decay = 0.998
  config.augment.crop_padding = 0
  config.augment.crop_scale = 0.5
  config.augment.cutmix = 0.25
  return config
