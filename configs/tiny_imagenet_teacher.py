"""Tiny ImageNet on a GPU: a residual network that teaches ViTs. Not run yet.

    python -m vit_jax.main --config=configs/tiny_imagenet_teacher.py

Then --config=configs/tiny_imagenet_gpu.py --config.teacher=runs/tiny_imagenet_teacher-seed0 learns what it answers.
"""
from configs import tiny_imagenet_gpu


def get_config():
  """A third of the ViT's epochs, on pictures that are changed less."""
  config = tiny_imagenet_gpu.get_config()
  for key in config.model:
    config.model[key] = None
  config.model.variant = 'resnet-large'
  config.epochs = 100.0
  config.augment.trivial = False
  return config
