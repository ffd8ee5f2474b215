"""CIFAR-10's ten classes on a GPU: a larger model for 200 epochs, to start from. Not run yet.

    python -m vit_jax.main --config=configs/cifar10_gpu.py

Then --config=configs/finetune_small.py --config.init=runs/cifar10_gpu-seed0 is about cats and dogs alone.
"""
from configs import cifar10


def get_config():
  """The recipe for two cores with a model seven times as large, and everything that keeps it from over-fitting."""
  config = cifar10.get_config()
  config.model.hidden_size = 384
  config.model.num_layers = 6
  config.model.mlp_dim = 1152
  config.model.drop_path_rate = 0.1
  config.batch_size = 512
  config.epochs = 200.0
  config.eval_epochs = 5.0
  config.optim.warmup_epochs = 5.0
  config.ema_decay = 0.9995
  config.augment.trivial = True
  config.augment.erasing = 0.25
  config.augment.cutmix = 0.5
  return config
