"""Tiny ImageNet, from scratch: 100,000 pictures of 64×64 pixels in 200 classes, no other data.

    python -m vit_jax.main --config=configs/tiny_imagenet.py

The first start downloads the archive (248 MB), or takes tiny-imagenet-200.zip from downloads/manual in the folder of
TensorFlow Datasets. The official validation pictures are the test part; validation is held out of the training ones.

Four epochs took 35 minutes on two cores with AVX2, and reached 41.2 % (experiments/tiny_imagenet).
"""
from configs import common


def get_config():
  """A conv-stem ViT on 8×8 tokens, trained by Muon beside AdamW."""
  config = common.get_config()
  config.data.name = 'tiny_imagenet'
  config.data.image_size = 64
  config.data.val_fraction = 0.02
  config.model.variant = 'medium-conv_8'
  config.epochs = 4.0
  config.eval_epochs = 0.5
  config.optim.name = 'muon'
  config.optim.lr = 3e-3
  config.optim.warmup_epochs = 0.25
  config.augment.flip = True
  config.augment.crop_padding = 4
  return config
