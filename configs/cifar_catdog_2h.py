"""CIFAR-10's cats against dogs, from scratch, in less than two hours of two cores: 10,000 pictures, no other data.

    python -m vit_jax.main --config=configs/cifar_catdog_2h.py

As cifar_catdog.py, with the model of cifar10.py, 100 epochs and stronger augmentation. It reached 87.9 %
(experiments/foundation).
"""
from configs import cifar10


def get_config():
  """Four times the parameters and two and a half times the epochs, of pictures that are changed more."""
  config = cifar10.get_config()
  config.data.classes = ('cat', 'dog')
  config.data.val_fraction = 0.05
  config.data.clear_of = ()
  config.epochs = 100.0
  config.eval_epochs = 5.0
  config.optim.warmup_epochs = 2.0
  config.augment.cutmix = 0.5
  return config
