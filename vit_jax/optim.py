"""The learning-rate schedule, the decay mask and the optax chain."""
from flax import traverse_util
import jax
import jax.numpy as jnp
import optax

from vit_jax import muon
from vit_jax.errors import BadInput
from vit_jax.errors import choose
from vit_jax.models import vit

# What weight decay leaves alone, by the last name of its path: pulling these towards zero regularises
# nothing. `pos_embedding`, `cls` and `dist` are inputs rather than weights.
_NO_DECAY = ('bias', 'scale', 'pos_embedding', 'cls', 'dist')


def decay_mask(params):
  """True where weight decay applies: the kernels; not biases, norms, positions or the tokens that are read out."""
  return traverse_util.path_aware_map(lambda path, _: path[-1] not in _NO_DECAY, params)


def warmup_cosine(peak, *, warmup_steps, total_steps):
  """step -> learning rate: linear from 0 to `peak` over `warmup_steps`, then a half cosine down to 0."""
  return optax.warmup_cosine_decay_schedule(0.0, peak, warmup_steps, total_steps)


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
                   layer_decay=1.0, dtype=jnp.float32):
  """AdamW, Muon beside AdamW, or SGD, with warm-up and cosine -> (optax transformation, step -> its or AdamW's rate).

  Weight decay is multiplied by the learning rate, as in AdamW's usual implementations. SGD has a momentum of 0.9
  (paper, appendix B.1.1), and weight decay is part of its gradient, as in torch. `grad_clip` bounds the global norm of
  the gradient (0: unbounded); `layer_decay` see `layer_rates`; `dtype` is that of Muon's products of matrices. Raises
  BadInput for an unknown name or impossible numbers.
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
    tx = muon.beside(tx, params, schedule(muon_lr), weight_decay, dtype)
  elif name == 'sgd':
    tx = optax.chain(optax.add_decayed_weights(weight_decay, decay_mask), optax.sgd(rate, momentum=0.9))
  clip = optax.clip_by_global_norm(grad_clip) if grad_clip else optax.identity()
  if layer_decay < 1:
    rates = layer_rates(params, layer_decay)
    tx = optax.chain(tx, optax.stateless(lambda updates, _: jax.tree.map(jnp.multiply, updates, rates)))
  return optax.chain(clip, tx), rate
