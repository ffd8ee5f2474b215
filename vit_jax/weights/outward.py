"""Our weights as other programs keep them, timm's folders and Hugging Face's: `timm` and `huggingface` backwards.

Only the paper's model has a place there: linear patches, and positions in a table. Fixed positions become one.
"""
import re

import numpy as np

from vit_jax.errors import BadInput
from vit_jax.models import tokens
from vit_jax.models import vit
from vit_jax.weights import huggingface
from vit_jax.weights import sizes as sizes_lib
from vit_jax.weights import timm
from vit_jax.weights import torch_names


def to_theirs(flat, table):
  """Renames {our name: array} by a table of `torch_names`, and lays the arrays out as PyTorch does."""
  out = {}
  for name, leaf in flat.items():
    number = re.search(r'(?<=encoderblock_)\d+', name)
    pattern = name.replace(f'encoderblock_{number[0]}', 'encoderblock_{i}') if number else name
    module, _, kind = pattern.rpartition('/')
    theirs = table.get(pattern) or f'{table[module]}.{"bias" if kind == "bias" else "weight"}'
    out[theirs.replace('{i}', number[0]) if number else theirs] = np.ascontiguousarray(layout(pattern, leaf))
  return out


def layout(name, leaf):
  """One parameter as PyTorch's: kernels [outputs, inputs] or [outputs, inputs, k, k], heads in no axis of their own."""
  *_, module, kind = f'/{name}'.split('/')
  if kind == 'bias':
    return leaf.reshape(-1)
  if kind != 'kernel':
    return leaf
  if leaf.ndim == 4:
    return leaf.transpose(3, 2, 0, 1)
  inputs = len(leaf) if module in torch_names.QUERY_KEY_VALUE else leaf.size // leaf.shape[-1]
  return leaf.reshape(inputs, -1).T


def check(model):
  """Raises BadInput where the model is not the paper's."""
  if not isinstance(model, vit.VisionTransformer) or model.stem != 'linear' or model.conv_positions:
    raise BadInput('timm and Hugging Face have no model with convolutions like this one; --format=vit_jax, npz and '
                   'stablehlo hold it')
  if model.representation_size:
    raise BadInput('timm and Hugging Face no longer have a pre_logits layer; --format=vit_jax, npz and stablehlo hold '
                   'it')


def check_npz(flat, model, image_size):
  """Raises BadInput where a .npz, which holds arrays alone, would be read as another function than the model's."""
  if not isinstance(model, vit.VisionTransformer) or model.stem == 'conv' or model.conv_positions:
    return  # Whoever reads these arrays is told that they are no published model's.
  fields = vit.VisionTransformer.__dataclass_fields__
  found = {name: fields[name].default for name in ('gelu', 'norm_eps', 'pool_first')} | sizes_lib.infer(flat, {})
  of_model = {name: getattr(model, name) for name in ('gelu', 'norm_eps', 'pool_first', 'classifier')}
  other = {name: value for name, value in of_model.items() if value != found[name]}
  if model.posemb == 'sincos2d' and sizes_lib.image_size(flat, model) != image_size:
    other['data.image_size'] = image_size
  if other:
    said = ', '.join(f'{name}={value!r}' for name, value in other.items())
    raise BadInput(f'a .npz cannot say that the model has {said}, and would be read as another one; take .safetensors')


def with_table(flat, model, image_size):
  """The weights with positions in a table."""
  if model.posemb == 'learned':
    return flat
  side = image_size // model.patch_size
  table = np.asarray(tokens.sincos2d_positions(side, side, model.hidden_size))
  front = np.zeros((1, sizes_lib.num_front(flat), model.hidden_size), np.float32)
  return flat | {sizes_lib.POSITIONS: np.concatenate([front, table], axis=1)}


def to_timm(flat, model, class_names, image_size):
  """-> ({timm's name: array}, config.json), for `timm.create_model('local-dir:FOLDER')`; raises BadInput."""
  check(model)
  if model.norm_eps != 1e-6:
    raise BadInput(f"timm's LayerNorms have an ε of 1e-6, not {model.norm_eps:g}; --format=huggingface holds it")
  named = to_theirs(with_table(flat, model, image_size), timm.TABLE)
  if model.pool_first:
    named = {re.sub(r'^norm\.', 'fc_norm.', name): leaf for name, leaf in named.items()}
  for name in [name for name in named if '.query.' in name]:
    parts = [named.pop(name.replace('query', part)) for part in torch_names.QUERY_KEY_VALUE]
    named[name.replace('query', 'qkv')] = np.concatenate(parts)
  front, reads = vit.CLASSIFIERS[model.classifier]
  distilled = reads == 'both'
  args = {'img_size': image_size, 'patch_size': model.patch_size, 'embed_dim': model.hidden_size,
          'depth': model.num_layers, 'num_heads': model.num_heads, 'mlp_ratio': model.mlp_dim / model.hidden_size,
          'act_layer': 'gelu' if model.gelu == 'erf' else 'gelu_tanh'}
  if not distilled:
    if len(front) > 1:
      raise BadInput(f'timm has no model with model.classifier={model.classifier!r}')
    args |= {'class_token': bool(front), 'global_pool': 'avg' if reads == 'mean' else 'token',
             'fc_norm': model.pool_first}
  return named, {
      'architecture': 'deit_tiny_distilled_patch16_224' if distilled else 'vit_tiny_patch16_224',
      'num_classes': model.num_classes, 'num_features': model.hidden_size, 'model_args': args,
      'pretrained_cfg': {
          'num_classes': model.num_classes, 'input_size': [3, image_size, image_size], 'interpolation': 'bicubic',
          'crop_pct': 1.0, 'crop_mode': 'center', 'mean': [.5] * 3, 'std': [.5] * 3, 'fixed_input_size': True,
          'pool_size': None, 'first_conv': 'patch_embed.proj',
          'classifier': ['head', 'head_dist'] if distilled else 'head', 'label_names': list(class_names)}}


def to_huggingface(flat, model, class_names, image_size):
  """-> ({their name: array}, config.json, preprocessor_config.json), for `from_pretrained(FOLDER)`; raises BadInput."""
  check(model)
  _, reads = vit.CLASSIFIERS[model.classifier]
  if model.classifier not in ('token', 'distilled'):
    raise BadInput(f'Hugging Face has no ViT with model.classifier={model.classifier!r}, only with a class token; '
                   '--format=timm may')
  two = reads == 'both'
  kind = 'DeiT' if two else 'ViT'
  table = huggingface.TABLE | (huggingface.TWO_HEADS if two else {})
  heads = tuple(theirs for ours, theirs in table.items() if ours.startswith('head'))
  named = to_theirs(with_table(flat, model, image_size), table)
  named = {name if name.startswith(heads) else f'{kind.lower()}.{name}': leaf for name, leaf in named.items()}
  config = {
      'architectures': ['DeiTForImageClassificationWithTeacher' if two else 'ViTForImageClassification'],
      'model_type': kind.lower(), 'hidden_size': model.hidden_size, 'num_hidden_layers': model.num_layers,
      'num_attention_heads': model.num_heads, 'intermediate_size': model.mlp_dim,
      'hidden_act': 'gelu' if model.gelu == 'erf' else 'gelu_pytorch_tanh', 'hidden_dropout_prob': 0.0,
      'attention_probs_dropout_prob': 0.0, 'layer_norm_eps': model.norm_eps, 'image_size': image_size,
      'patch_size': model.patch_size, 'num_channels': 3, 'qkv_bias': True,
      'id2label': {str(i): name for i, name in enumerate(class_names)},
      'label2id': {name: i for i, name in enumerate(class_names)}}
  size = {'height': image_size, 'width': image_size}
  return named, config, {
      'image_processor_type': f'{kind}ImageProcessor', 'do_resize': True, 'size': size, 'resample': 3,
      'do_center_crop': False, 'do_rescale': True, 'rescale_factor': 1 / 255, 'do_normalize': True,
      'image_mean': [.5] * 3, 'image_std': [.5] * 3}
