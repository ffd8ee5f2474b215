"""The same ViT in PyTorch, as whoever uses PyTorch would write it for speed, and timm's; their train step and answers.

What is done for them: threads set to the cores, channels-last pictures, one matrix for query, key and value, torch's
own fused attention and fused AdamW, bfloat16 by autocast, and torch.compile. In training also attention as products of
matrices ('math'), which torch does not choose itself, and which a CPU may do faster. For answers also with its weights
frozen, and then with each product by whichever of its kernels is the fastest here, called from C++.
How torch's threads wait for each other is what OMP_WAIT_POLICY says where the benchmark is started: without it they
spin, which is the fastest on a quiet machine, and thirty times as slow on a busy one as with PASSIVE.
"""
import contextlib
import functools
import io
import logging
import os
import warnings

import numpy as np
import torch
from torch import nn
from torch.nn import attention
from torch.nn import functional

from vit_jax import machine
from vit_jax.benchmarks import setting as setting_lib

MATH = attention.SDPBackend.MATH


def make(setting):
  """The work of a setting, made ready."""
  torch._logging.set_logs(all=logging.ERROR)
  warnings.filterwarnings('ignore', module=r'torch\.')
  torch.set_num_threads(machine.num_cores())
  torch.manual_seed(0)
  return Training(setting) if setting.work == 'train' else Answering(setting)


class Attention(nn.Module):
  """Multi-head self-attention, f32[B,T,D] -> f32[B,T,D]."""

  def __init__(self, width, num_heads):
    super().__init__()
    self.num_heads = num_heads
    self.qkv = nn.Linear(width, 3 * width)
    self.proj = nn.Linear(width, width)

  def forward(self, tokens):
    b, t, d = tokens.shape
    q, k, v = self.qkv(tokens).reshape(b, t, 3, self.num_heads, d // self.num_heads).permute(2, 0, 3, 1, 4)
    mixed = functional.scaled_dot_product_attention(q, k, v)
    return self.proj(mixed.transpose(1, 2).reshape(b, t, d))


class Block(nn.Module):
  """One pre-norm layer, f32[B,T,D] -> f32[B,T,D]; `gelu` is what torch calls 'tanh' or 'none'."""

  def __init__(self, width, num_heads, gelu):
    super().__init__()
    self.gelu = gelu
    self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
    self.attn = Attention(width, num_heads)
    self.mlp = nn.ModuleDict({'fc1': nn.Linear(width, 4 * width), 'fc2': nn.Linear(4 * width, width)})

  def forward(self, tokens):
    tokens = tokens + self.attn(self.norm1(tokens))
    hidden = functional.gelu(self.mlp['fc1'](self.norm2(tokens)), approximate=self.gelu)
    return tokens + self.mlp['fc2'](hidden)


class VisionTransformer(nn.Module):
  """Pictures f32[B,3,H,W] in [-1,1] -> logits f32[B,K]; parameters have timm's names, so that ours can be put in."""

  def __init__(self, setting):
    super().__init__()
    patch, width = setting_lib.PATCH, setting.width
    self.patch_embed = nn.ModuleDict({'proj': nn.Conv2d(3, width, patch, stride=patch)})
    self.pos_embed = nn.Parameter(.02 * torch.randn(1, setting.tokens, width))
    # As ours: answers in bfloat16 are of the function itself, which is faster there.
    gelu = 'none' if (setting.work, setting.dtype) == ('predict', 'bfloat16') else 'tanh'
    self.blocks = nn.ModuleList(Block(width, setting.num_heads, gelu) for _ in range(setting.depth))
    self.norm = nn.LayerNorm(width, eps=1e-6)
    self.head = nn.Linear(width, setting_lib.CLASSES)

  def forward(self, images):
    tokens = self.patch_embed['proj'](images).flatten(2).transpose(1, 2) + self.pos_embed
    for block in self.blocks:
      tokens = block(tokens)
    return self.head(self.norm(tokens).mean(1))


def timms(setting):
  """The model of these sizes from timm's own code."""
  import timm
  return timm.create_model(
      'vit_tiny_patch16_224', img_size=setting.image_size, patch_size=setting_lib.PATCH, embed_dim=setting.width,
      depth=setting.depth, num_heads=setting.num_heads, num_classes=setting_lib.CLASSES, class_token=False,
      global_pool='avg', fc_norm=False)


class Work:
  """A model in PyTorch, and one batch again and again."""

  def __init__(self, setting):
    self.device = 'cuda' if torch.cuda.is_available() else 'cpu'
    if self.device == 'cuda':
      torch.set_float32_matmul_precision('high')  # As jax does without being told.
    model = timms(setting) if setting.framework == 'timm' else VisionTransformer(setting)
    self.plain = model.to(self.device, memory_format=torch.channels_last)
    self.model = self.plain if setting.way.startswith('eager') else torch.compile(self.plain)
    rng, size, b = np.random.default_rng(0), setting.image_size, setting.batch_size
    self.images = torch.from_numpy(rng.integers(0, 256, (b, size, size, 3), np.uint8))
    self.labels = torch.from_numpy(rng.integers(0, setting_lib.CLASSES, b))
    self.pictures = b
    self.autocast = functools.partial(torch.autocast, self.device, torch.bfloat16) if setting.dtype == 'bfloat16' else (
        contextlib.nullcontext)

  def logits(self):
    """The batch's, f32[B,K]; NHWC in memory is what torch calls channels-last."""
    images = self.images.to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1
    with self.autocast():
      return self.model(images)

  def run(self, count):
    """Takes so many steps, the last one to its end."""
    for _ in range(count):
      self.step()
    if self.device == 'cuda':
      torch.cuda.synchronize()

  def facts(self):
    """What is known before it runs."""
    return {'parameters': sum(leaf.numel() for leaf in self.plain.parameters()), 'pictures': self.pictures,
            'device': self.device, 'threads': torch.get_num_threads(), 'version': torch.__version__,
            'omp_wait_policy': os.environ.get('OMP_WAIT_POLICY')}

  def device_memory(self):
    """The most bytes of a GPU's own memory that were in use; None on a processor."""
    return torch.cuda.max_memory_allocated() if self.device == 'cuda' else None


class Training(Work):
  """A train step: forward, backward, AdamW."""

  def __init__(self, setting):
    super().__init__(setting)
    self.optimizer = torch.optim.AdamW(self.plain.parameters(), lr=1e-3, weight_decay=.05, fused=True)
    math = setting.way.endswith('math')
    self.attention = functools.partial(attention.sdpa_kernel, MATH) if math else contextlib.nullcontext

  def step(self):
    """Takes one step: -> the loss before it."""
    with self.attention():
      loss = functional.cross_entropy(self.logits().float(), self.labels.to(self.device))
    self.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    self.optimizer.step()
    return loss.detach()


class Answering(Work):
  """Pictures → probabilities."""

  def __init__(self, setting):
    super().__init__(setting)
    self.plain.eval()
    if setting.way in ('frozen', 'tuned'):  # Weights become constants, laid out as the kernels want them.
      from torch._inductor import config
      config.freezing, config.max_autotune = True, setting.way == 'tuned'
      config.cpp_wrapper = config.max_autotune
      with contextlib.redirect_stderr(io.StringIO()):  # It writes what it tries.
        self.step()

  def step(self):
    """Answers the batch: -> probabilities f32[B,K]."""
    # Where weights are frozen, inference_mode is refused; it is no faster than no_grad for a whole compiled model.
    with torch.no_grad():
      return self.logits().float().softmax(-1).cpu().numpy()
