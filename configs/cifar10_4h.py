"""CIFAR-10's ten classes, from scratch, in less than four hours of two cores: 72 epochs, no other data.

    python -m vit_jax.main --config=configs/cifar10_4h.py

As cifar10.py, twice as long and with stronger augmentation. It reached 93.0 % (experiments/cifar10), and its weights
come with vit_jax.
"""
from configs import cifar10


def get_config():
  """Twice the epochs, and half of the batches mixed by CutMix."""
  config = cifar10.get_config()
  config.epochs = 72.0
  config.optim.warmup_epochs = 2.0
  config.augment.cutmix = 0.5
  return config
