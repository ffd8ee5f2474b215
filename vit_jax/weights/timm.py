"""timm's ViT and DeiT under the names of our models (Wightman 2019, timm/models/vision_transformer.py and deit.py).

Its GELU is the function itself unless a model asks for another, its LayerNorms have an ε of 1e-6 as here, and query,
key and value are one matrix.
"""
import numpy as np

from vit_jax.errors import BadInput
from vit_jax.weights import beside
from vit_jax.weights import sizes
from vit_jax.weights import torch_names
from vit_jax.weights.torch_names import ATTENTION
from vit_jax.weights.torch_names import BLOCK

# {ours: theirs}, see torch_names; query, key and value once they are apart.
TABLE = {
    'embedding': 'patch_embed.proj',
    'cls': 'cls_token',
    'dist': 'dist_token',
    sizes.POSITIONS: 'pos_embed',
    f'{BLOCK}/LayerNorm_0': 'blocks.{i}.norm1',
    f'{ATTENTION}/query': 'blocks.{i}.attn.query',
    f'{ATTENTION}/key': 'blocks.{i}.attn.key',
    f'{ATTENTION}/value': 'blocks.{i}.attn.value',
    f'{ATTENTION}/out': 'blocks.{i}.attn.proj',
    f'{BLOCK}/LayerNorm_2': 'blocks.{i}.norm2',
    f'{BLOCK}/MlpBlock_3/Dense_0': 'blocks.{i}.mlp.fc1',
    f'{BLOCK}/MlpBlock_3/Dense_1': 'blocks.{i}.mlp.fc2',
    'Transformer/encoder_norm': 'norm',
    'pre_logits': 'pre_logits.fc',
    'head': 'head',
    'head_dist': 'head_dist',
}
# What timm calls the two kinds of GELU.
GELUS = {'gelu': 'erf', 'gelu_tanh': 'tanh'}
# What timm's own functions say of a model and its config.json need not: heads that are not 64 features wide, and GELU
# by tanh. These are all ViTs of timm 1.0.31 that are read here and differ so.
HEADS = {'test_vit': 2, 'vit_base_patch16_gap_224': 16, 'vit_giantopt_patch16_siglip_gap_256': 16,
         'vit_giantopt_patch16_siglip_gap_384': 16}
TANH = ('vit_base_patch32_siglip_gap_256', 'vit_large_patch16_siglip_gap_512', 'vit_so400m_patch16_siglip_gap_256',
        'vit_so400m_patch16_siglip_gap_384', 'vit_so400m_patch16_siglip_gap_512', 'vit_giantopt_patch16_siglip_gap_256',
        'vit_giantopt_patch16_siglip_gap_384')
# LayerScale multiplies what these layers put out; folded into them, the function is the same.
SCALED = {'ls1.gamma': 'attn.proj', 'ls2.gamma': 'mlp.fc2'}


def matches(names):
  """Whether these are timm's names."""
  return 'patch_embed.proj.weight' in names


def read(flat, config):
  """{timm's name: f32 array} and its config.json, {} without one -> Found.

  Raises BadInput for what the models here cannot compute.
  """
  args, details = beside.section(config, 'model_args'), beside.section(config, 'pretrained_cfg') or config
  name = str(config.get('architecture'))
  said = beside.word(args, 'act_layer') or ('gelu_tanh' if name in TANH else 'gelu')
  activation = 'quickgelu' if 'quickgelu' in name else said
  if activation not in GELUS:
    raise BadInput(f'its activation is {activation!r}; the models here have GELU')
  known = {'gelu': GELUS[activation]}
  pooling = (beside.word(args, 'global_pool') or beside.word(config, 'global_pool')
             or ('avg' if 'fc_norm.weight' in flat else 'token'))
  if 'dist_token' not in flat:
    known['classifier'] = classifier(pooling, 'cls_token' in flat)
  if 'fc_norm.weight' in flat:
    known['pool_first'] = True
  usual = beside.IMAGENET if 'dist_token' in flat else beside.HALVES
  note = '' if 'mean' in details else 'no config.json says which mean and std its pixels had'
  # Where the mean is taken first, the last norm has another name.
  table = TABLE | ({'Transformer/encoder_norm': 'fc_norm'} if known.get('pool_first') else {})
  return beside.Found('timm', torch_names.to_ours(unfold(flat), table, num_heads(flat, args, name)), known,
                      class_names(config), beside.mean_and_std(details, 'mean', 'std', usual), note)


def classifier(pooling, has_token):
  """Our name for what timm's head reads; raises BadInput where it is no class token and no mean."""
  name = {('token', True): 'token', ('avg', True): 'gap+token', ('avg', False): 'gap'}.get((pooling, has_token))
  if not name:
    raise BadInput(f'it pools by {pooling!r} {"with" if has_token else "without"} a class token; a class token or the '
                   'mean (avg) are read')
  return name


def num_heads(flat, args, name):
  """Heads of each block of the architecture `name`, see sizes.num_heads."""
  given = beside.positive(args, 'num_heads', HEADS.get(name))
  layers = len({key.split('.')[1] for key in flat if key.startswith('blocks.')})
  return sizes.num_heads(given, sizes.shape(flat, 'patch_embed.proj.weight', 4)[0], layers,
                         sizes.shape(flat, 'blocks.0.mlp.fc1.weight', 2)[0])


def unfold(flat):
  """Takes query, key and value apart, and puts LayerScale into the layer before it: {name: array} -> the same."""
  out = {}
  for name, leaf in flat.items():
    block, part, kind = name.rpartition('qkv.')
    if part and leaf.ndim and len(leaf) % 3 == 0:
      parts = zip(torch_names.QUERY_KEY_VALUE, np.split(leaf, 3), strict=True)
      out |= {f'{block}{which}.{kind}': third for which, third in parts}
    else:
      out[name] = leaf
  for name in [name for name in out if name.endswith(tuple(SCALED))]:
    block, gamma = name.split('.ls')[0], out[name]
    layer = f'{block}.{SCALED[name.removeprefix(block + ".")]}'
    weight, bias = out.get(f'{layer}.weight'), out.get(f'{layer}.bias')
    if gamma.ndim == 1 and np.shape(weight)[:1] == np.shape(bias) == gamma.shape:
      out |= {f'{layer}.weight': weight * gamma[:, None], f'{layer}.bias': bias * gamma}
      del out[name]
  return out


def class_names(config):
  """The names of the classes that config.json gives, () without."""
  names = config.get('label_names') or beside.section(config, 'pretrained_cfg').get('label_names') or ()
  if not isinstance(names, (list, tuple)):
    raise BadInput(f'label_names={names!r} in config.json must be a list')
  return tuple(map(str, names))
