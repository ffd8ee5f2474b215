"""CIFAR-10's ten classes, from scratch: 50,000 pictures of 32×32 pixels, no other data, under three hours of two cores.

    python -m vit_jax.main --config=configs/cifar10.py

As cifar_catdog.py, with more than three times as many parameters and a longer mean of the weights. It reached
91.6 % (experiments/cifar10).
"""
from configs import cifar_catdog


def get_config():
  """A deeper and wider model, and longer averages."""
  config = cifar_catdog.get_config()
  config.data.classes = ()
  config.data.val_fraction = 0.02
  config.data.clear_of = ('cifar10', 'tiny_imagenet')
  config.model.hidden_size = 192
  config.model.num_layers = 4
  config.model.num_heads = 6
  config.model.mlp_dim = 384
  config.epochs = 36.0
  config.eval_epochs = 1.0
  config.optim.warmup_epochs = 1.0
  config.ema_decay = 0.999
  return config
