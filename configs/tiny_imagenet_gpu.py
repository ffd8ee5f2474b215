"""Tiny ImageNet on a GPU: a model of the size of ViT-S behind a conv stem, for 300 epochs. Not run yet.

    python -m vit_jax.main --config=configs/tiny_imagenet_gpu.py
"""
from configs import tiny_imagenet_2h


def get_config():
  """The two-hour recipe with a model ten times as large, all tokens, and everything that keeps it from over-fitting."""
  config = tiny_imagenet_2h.get_config()
  config.model.hidden_size = 384
  config.model.num_layers = 12
  config.model.mlp_dim = 1536
  config.model.patch_dropout = 0.0
  config.model.drop_path_rate = 0.1
  config.batch_size = 512
  config.epochs = 300.0
  config.eval_epochs = 5.0
  config.optim.warmup_epochs = 10.0
  config.ema_decay = 0.9998
  config.augment.crop_scale = 0.35
  config.augment.trivial = True
  config.augment.erasing = 0.25
  config.augment.cutmix = 0.5
  config.augment.mixup = 0.25
  return config
