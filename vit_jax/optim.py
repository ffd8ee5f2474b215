"""The learning-rate schedule, the decay mask and the optax chain."""
import math

from flax import traverse_util
import jax
import jax.numpy as jnp
import optax
from optax import contrib

from vit_jax.errors import BadInput
from vit_jax.errors import choose
from vit_jax.models import vit

# What weight decay leaves alone, by the last name of its path: pulling these towards zero regularises
# nothing. `pos_embedding` and `cls` are inputs rather than weights.
_NO_DECAY = ('bias', 'scale', 'pos_embedding', 'cls')


def decay_mask(params):
  """True where weight decay applies: the kernels; not biases, norms, positions or the class token."""
  return traverse_util.path_aware_map(lambda path, _: path[-1] not in _NO_DECAY, params)


def warmup_cosine(peak, *, warmup_steps, total_steps):
  """step -> learning rate: linear from 0 to `peak` over `warmup_steps`, then a half cosine down to 0."""
  return optax.warmup_cosine_decay_schedule(0.0, peak, warmup_steps, total_steps)


def muon_matrices(params):
  """The shape of the matrix that Muon sees in each parameter, by path: {('Transformer', …): (inputs, outputs)}.

  The matrices are the kernels inside the encoder blocks, or inside a ResNet's units; AdamW takes all else.
  Attention keeps its heads in an axis of their own ([D,heads,D_h], and [heads,D_h,D] on the way out); they count as
  one D×D matrix. A convolution f32[k,k,C,F] counts as a matrix of k·k·C inputs.
  """
  matrices = {}
  for path, leaf in traverse_util.flatten_dict(params).items():
    if any(name.startswith(('encoderblock', 'stage')) for name in path) and path[-1] == 'kernel':
      several = path[-2] == 'out' or leaf.ndim == 4  # axes of inputs
      inputs = math.prod(leaf.shape[:-1]) if several else leaf.shape[0]
      matrices[path] = (inputs, math.prod(leaf.shape) // inputs)
  return matrices


def in_stacks(tx):
  """Runs a transformation on the blocks' matrices in stacks of one shape, {'128×256': f32[n,128,256], …}.

  The same numbers as matrix by matrix, but one large product in place of n small ones, and a program that
  does not grow with the depth of the model.
  """
  def stack(tree):
    stacks = {}
    for path, (inputs, outputs) in sorted(muon_matrices(tree).items()):
      leaf = traverse_util.flatten_dict(tree)[path]
      stacks.setdefault(f'{inputs}×{outputs}', []).append(leaf.reshape(inputs, outputs))
    return {shape: jnp.stack(matrices) for shape, matrices in stacks.items()}

  def unstack(stacks, like):
    flat = traverse_util.flatten_dict(like)
    matrices = {shape: iter(stack) for shape, stack in stacks.items()}
    for path, (inputs, outputs) in sorted(muon_matrices(like).items()):
      flat[path] = next(matrices[f'{inputs}×{outputs}']).reshape(flat[path].shape)
    return traverse_util.unflatten_dict(flat)

  def update(gradients, state, params):
    updates, state = tx.update(stack(gradients), state, stack(params))
    return unstack(updates, gradients), state

  return optax.GradientTransformation(lambda params: tx.init(stack(params)), update)


def muon(params, learning_rate, weight_decay, adamw):
  """Muon (Jordan et al. 2024) for the matrices of the blocks, `adamw` for all other parameters."""
  matrices = muon_matrices(params)
  labels = traverse_util.path_aware_map(lambda path, _: 'muon' if path in matrices else 'adamw', params)
  of_a_stack = lambda stacks: jax.tree.map(lambda _: contrib.MuonDimensionNumbers(1, 2), stacks)
  stacked = contrib.muon(learning_rate, weight_decay=weight_decay, muon_weight_dimension_numbers=of_a_stack)
  return optax.partition({'muon': in_stacks(stacked), 'adamw': adamw}, labels)


def layer_rates(params, decay):
  """Each parameter's share of the learning rate: decay to the number of blocks from it to the head, itself included.

  The heads have 1 and the last block `decay`, as have norm and `pre_logits` after it; stem, class token and positions
  have the least (Clark et al. 2020, section 3.5; Bao et al. 2021). Raises BadInput where there are no encoder blocks.
  """
  blocks = {name: int(name.removeprefix('encoderblock_')) for name in params.get('Transformer', {})
            if name.startswith('encoderblock_')}
  if not blocks and decay < 1:
    raise BadInput(f'optim.layer_decay={decay} is for ViTs: this model has no encoder blocks; leave it at 1')
  def share(path, _):
    if path[0] in vit.HEADS:
      return 1.0
    if path[0] == 'pre_logits':
      return decay
    if path[0] != 'Transformer' or path[1] == 'posembed_input':
      return decay ** (len(blocks) + 1)
    return decay ** (len(blocks) - blocks.get(path[1], len(blocks) - 1))
  return traverse_util.path_aware_map(share, params)


def make_optimizer(params, *, name, peak_lr, muon_lr, weight_decay, warmup_steps, total_steps, grad_clip,
                   layer_decay=1.0):
  """AdamW, Muon beside AdamW, or SGD, with warm-up and cosine -> (optax transformation, step -> its or AdamW's rate).

  Weight decay is multiplied by the learning rate, as in AdamW's usual implementations. SGD has a momentum of 0.9
  (paper, appendix B.1.1), and weight decay is part of its gradient, as in torch. `grad_clip` bounds the global norm of
  the gradient (0: unbounded); `layer_decay` see `layer_rates`. Raises BadInput for an unknown name or impossible
  numbers.
  """
  choose(name, ('adamw', 'muon', 'sgd'), 'optim.name')
  for key, value in dict(lr=peak_lr, muon_lr=muon_lr, weight_decay=weight_decay, grad_clip=grad_clip).items():
    if not 0 <= value < float('inf'):
      raise BadInput(f'optim.{key}={value} must be a finite number of at least 0')
  if not 0 <= layer_decay <= 1:
    raise BadInput(f'optim.layer_decay={layer_decay} must be from 0, where the head alone learns, to 1')
  if not 0 <= warmup_steps < total_steps:
    raise BadInput(f'{warmup_steps} warm-up steps do not fit into {total_steps} steps; '
                   'lower optim.warmup_epochs or train longer')
  schedule = lambda peak: warmup_cosine(peak, warmup_steps=warmup_steps, total_steps=total_steps)
  rate = schedule(peak_lr)
  tx = optax.adamw(rate, weight_decay=weight_decay, mask=decay_mask)
  if name == 'muon':
    tx = muon(params, schedule(muon_lr), weight_decay, tx)
  elif name == 'sgd':
    tx = optax.chain(optax.add_decayed_weights(weight_decay, decay_mask), optax.sgd(rate, momentum=0.9))
  clip = optax.clip_by_global_norm(grad_clip) if grad_clip else optax.identity()
  if layer_decay < 1:
    rates = layer_rates(params, layer_decay)
    tx = optax.chain(tx, optax.stateless(lambda updates, _: jax.tree.map(jnp.multiply, updates, rates)))
  return optax.chain(clip, tx), rate
