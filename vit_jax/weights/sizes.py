"""What a model's sizes are, read off its parameters."""
import math
import re

from vit_jax.errors import BadInput
from vit_jax.models import variants
from vit_jax.models import vit

POSITIONS = 'Transformer/posembed_input/pos_embedding'
# Where the arrays do not show it: the resolution that ViTs were published for.
USUAL_IMAGE_SIZE = 224
# The cells of a row that make one variant another; a head, dropout and the like do not.
IDENTITY = ('hidden_size', 'num_layers', 'num_heads', 'mlp_dim', 'patch_size', 'stem', 'resnet_units', 'classifier',
            'posemb')

# Heads of published models that are in no row of the table, by width and blocks: ViT-g/14 and G/14 (Zhai et al. 2022),
# So400m (Alabdulmohsin et al. 2023).
PUBLISHED_HEADS = {(1408, 40): 16, (1664, 48): 16, (1152, 27): 16}


def infer(flat, known):
  """{our name: array} and the cells `known` besides -> sizes of the VisionTransformer, `num_classes` included.

  Raises BadInput where the parameters that say so are missing or misshapen.
  """
  embedding = shape(flat, 'embedding/kernel', 4)
  query = shape(flat, 'Transformer/encoderblock_0/MultiHeadDotProductAttention_1/query/kernel', 3)
  return dict({
      'hidden_size': embedding[3],
      'patch_size': embedding[0],
      'num_layers': len({name.split('/')[1] for name in flat if name.startswith('Transformer/encoderblock_')}),
      'num_heads': query[1],
      'mlp_dim': shape(flat, 'Transformer/encoderblock_0/MlpBlock_3/Dense_0/kernel', 2)[1],
      'stem': 'resnet' if 'conv_root/kernel' in flat else 'linear',
      'resnet_units': resnet_units(flat),
      'classifier': 'distilled' if 'dist' in flat else 'token' if 'cls' in flat else 'gap',
      'posemb': 'learned' if POSITIONS in flat else 'sincos2d',
      'representation_size': shape(flat, 'pre_logits/kernel', 2)[1] if 'pre_logits/kernel' in flat else 0,
      'num_classes': shape(flat, 'head/kernel', 2)[1] if 'head/kernel' in flat else 0,
  }, **known)


def shape(flat, name, rank):
  """The shape of a parameter; raises BadInput where it is missing or has another number of axes."""
  if name not in flat:
    raise BadInput(f'{name} is missing')
  if flat[name].ndim != rank:
    raise BadInput(f'{name} is {flat[name].shape}; it must have {rank} axes')
  return flat[name].shape


def resnet_units(flat):
  """Units of each stage of the hybrid's ResNet, () without one."""
  found = {match.groups() for name in flat if (match := re.match(r'block(\d+)/unit(\d+)/', name))}
  stages = sorted({int(stage) for stage, _ in found})
  return tuple(sum(int(stage) == number for stage, _ in found) for number in stages)


def image_size(flat, model):
  """Pixels a side of the pictures that the positions are for; raises BadInput where their grid is no square."""
  stride = variants.stride(model)
  if POSITIONS not in flat:
    return max(USUAL_IMAGE_SIZE // stride, 1) * stride
  positions = shape(flat, POSITIONS, 3)[1] - num_front(flat)
  side = math.isqrt(max(positions, 0))
  if not side or side**2 != positions:
    raise BadInput(f'{POSITIONS} is {flat[POSITIONS].shape}, no square grid; only square pictures are read')
  return side * stride


def num_front(flat):
  """Tokens in front of the patches: none, the class token, or the distillation token too."""
  return sum(name in flat for name in ('cls', 'dist'))


def variant(sizes):
  """The name of the row in models/variants.py with these sizes, '' where there is none."""
  fields = vit.VisionTransformer.__dataclass_fields__
  of = lambda row: tuple(row.get(key, fields[key].default) for key in IDENTITY)
  return next((name for name, row in variants.VARIANTS.items() if 'patch_size' in row and of(row) == of(sizes)), '')


def num_heads(given, hidden_size, num_layers, mlp_dim):
  """Heads of each block: `given`, else those of a published ViT of these sizes, else one for 64 features.

  Raises BadInput where they do not divide the width.
  """
  if given:
    if hidden_size % given:
      raise BadInput(f'the {given} heads of its config.json do not divide the {hidden_size} features of a token')
    return given
  for row in variants.VARIANTS.values():
    if [row.get(key) for key in ('hidden_size', 'num_layers', 'mlp_dim')] == [hidden_size, num_layers, mlp_dim]:
      return row['num_heads']
  if (hidden_size, num_layers) in PUBLISHED_HEADS:
    return PUBLISHED_HEADS[hidden_size, num_layers]
  if hidden_size % 64 or not hidden_size:
    raise BadInput(f'nothing says how many heads share the {hidden_size} features; put its config.json beside the file')
  return hidden_size // 64
