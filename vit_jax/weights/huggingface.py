"""Hugging Face's ViT and DeiT under the names of our models (transformers, models/vit and models/deit).

Read are ViTModel, ViTForImageClassification and the same of DeiT, with the teacher's head or without.
"""
import numpy as np

from vit_jax.errors import BadInput
from vit_jax.weights import beside
from vit_jax.weights import sizes
from vit_jax.weights import torch_names
from vit_jax.weights.torch_names import ATTENTION
from vit_jax.weights.torch_names import BLOCK

LAYER = 'encoder.layer.{i}'
# {ours: theirs}, see torch_names.
TABLE = {
    'embedding': 'embeddings.patch_embeddings.projection',
    'cls': 'embeddings.cls_token',
    'dist': 'embeddings.distillation_token',
    sizes.POSITIONS: 'embeddings.position_embeddings',
    f'{BLOCK}/LayerNorm_0': f'{LAYER}.layernorm_before',
    f'{ATTENTION}/query': f'{LAYER}.attention.attention.query',
    f'{ATTENTION}/key': f'{LAYER}.attention.attention.key',
    f'{ATTENTION}/value': f'{LAYER}.attention.attention.value',
    f'{ATTENTION}/out': f'{LAYER}.attention.output.dense',
    f'{BLOCK}/LayerNorm_2': f'{LAYER}.layernorm_after',
    f'{BLOCK}/MlpBlock_3/Dense_0': f'{LAYER}.intermediate.dense',
    f'{BLOCK}/MlpBlock_3/Dense_1': f'{LAYER}.output.dense',
    'Transformer/encoder_norm': 'layernorm',
    'pre_logits': 'pooler.dense',
    'head': 'classifier',
}
# DeiT with its teacher's head has these instead of a classifier.
TWO_HEADS = {'head': 'cls_classifier', 'head_dist': 'distillation_classifier'}
EMBEDDING = 'embeddings.patch_embeddings.projection.weight'
# Theirs for the model's fields, for the two kinds of GELU, and for what config.json and the arrays must agree on.
GELUS = {'gelu': 'erf', 'gelu_python': 'erf', 'gelu_new': 'tanh', 'gelu_pytorch_tanh': 'tanh'}
AGREE = {'hidden_size': 'hidden_size', 'num_hidden_layers': 'num_layers', 'intermediate_size': 'mlp_dim',
         'patch_size': 'patch_size'}


def matches(names):
  """Whether these are Hugging Face's names."""
  return any(name.endswith(EMBEDDING) for name in names)


def read(flat, config, preprocessor):
  """{their name: f32 array}, config.json and preprocessor_config.json, {} for none -> Found.

  Raises BadInput for what the models here cannot compute, and where config.json is another model's.
  """
  prefix = next(name for name in flat if name.endswith(EMBEDDING)).removesuffix(EMBEDDING)
  # The mask token of pretraining is not used after it.
  flat = {name.removeprefix(prefix): leaf for name, leaf in flat.items() if name != f'{prefix}embeddings.mask_token'}
  activation = beside.word(config, 'hidden_act', 'gelu')
  if activation not in GELUS or ('pooler.dense.weight' in flat and config.get('pooler_act', 'tanh') != 'tanh'):
    raise BadInput(f'config.json asks for hidden_act={activation!r} and pooler_act={config.get("pooler_act")!r}; the '
                   'models here have GELU, and tanh behind a pooler')
  two = 'cls_classifier.weight' in flat
  known = {'gelu': GELUS[activation], 'norm_eps': float(beside.positive(config, 'layer_norm_eps', 1e-12, float))}
  deit = 'embeddings.distillation_token' in flat
  if deit and not two:
    known['classifier'] = 'token+dist'
  names = torch_names.to_ours(flat, TABLE | TWO_HEADS if two else TABLE, num_heads(flat, config))
  notes = [f'no {name} says {what}' for name, there, what in (
      ('config.json', config, 'how many heads it has'),
      ('preprocessor_config.json', preprocessor, 'which mean and std its pixels had')) if not there]
  return beside.Found('Hugging Face', names, known, class_names(config), normalization(preprocessor, deit),
                      ' and '.join(notes), {AGREE[key]: value for key, value in config.items() if key in AGREE})


def num_heads(flat, config):
  """Heads of each block, see sizes.num_heads."""
  layers = len({name.split('.')[2] for name in flat if name.startswith('encoder.layer.')})
  return sizes.num_heads(beside.positive(config, 'num_attention_heads', None), sizes.shape(flat, EMBEDDING, 4)[0],
                         layers, sizes.shape(flat, 'encoder.layer.0.intermediate.dense.weight', 2)[0])


def normalization(preprocessor, deit):
  """(mean, std) of pixels in [0, 1] by preprocessor_config.json; without one as its class has them."""
  if preprocessor.get('do_normalize') is False:
    return scaled(((0.,) * 3, (1.,) * 3), preprocessor)
  usual = beside.IMAGENET if deit else beside.HALVES
  return scaled(beside.mean_and_std(preprocessor, 'image_mean', 'image_std', usual), preprocessor)


def scaled(mean_std, preprocessor):
  """The same for pixels that a processor multiplies by something else than 1/255, or by nothing."""
  factor = beside.positive(preprocessor, 'rescale_factor', 1 / 255, float)
  scale = 255 * (1 if preprocessor.get('do_rescale') is False else factor)
  # As it is where it should be 1, so that a rounding of 1/255 changes nothing.
  return mean_std if abs(scale - 1) < 1e-6 else tuple(tuple(np.divide(values, scale).tolist()) for values in mean_std)


def class_names(config):
  """The names of the classes that config.json gives, by number, () without."""
  names = beside.section(config, 'id2label')
  if set(names) != {str(i) for i in range(len(names))}:
    raise BadInput(f'id2label in config.json must name the classes 0 to {len(names) - 1}')
  return tuple(str(names[str(i)]) for i in range(len(names)))
