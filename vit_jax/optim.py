"""The learning-rate schedule, the decay mask and the optax chain."""
from flax import traverse_util
import jax
import optax
from optax import contrib

from vit_jax.errors import BadInput

# What weight decay leaves alone, by the last name of its path: pulling these towards zero regularises
# nothing. `pos_embedding` and `cls` are inputs rather than weights.
_NO_DECAY = ('bias', 'scale', 'pos_embedding', 'cls')


def decay_mask(params):
  """True where weight decay applies: the kernels; not biases, norms, positions or the class token."""
  return traverse_util.path_aware_map(lambda path, _: path[-1] not in _NO_DECAY, params)


def warmup_cosine(peak, *, warmup_steps, total_steps):
  """step -> learning rate: linear from 0 to `peak` over `warmup_steps`, then a half cosine down to 0."""
  return optax.warmup_cosine_decay_schedule(0.0, peak, warmup_steps, total_steps)


def muon_dimensions(params):
  """For each parameter the matrix that Muon orthogonalises, or None where AdamW takes it.

  The matrices are the kernels inside the encoder blocks. Attention keeps its heads in an axis of their own
  ([D,heads,D_h], and [heads,D_h,D] on the way out); they count as one D×D matrix.
  """
  def dimensions(path, leaf):
    if not any(name.startswith('encoderblock') for name in path) or path[-1] != 'kernel':
      return None
    if path[-2] in ('query', 'key', 'value'):
      return contrib.MuonDimensionNumbers(0, (1, 2))
    if path[-2] == 'out':
      return contrib.MuonDimensionNumbers((0, 1), 2)
    return contrib.MuonDimensionNumbers(0, 1)
  return traverse_util.path_aware_map(dimensions, params)


def muon(params, learning_rate, weight_decay, adamw):
  """Muon (Jordan et al. 2024) for the matrices of the encoder blocks, `adamw` for all other parameters."""
  dimensions = muon_dimensions(params)
  is_leaf = lambda x: x is None or isinstance(x, contrib.MuonDimensionNumbers)
  labels = jax.tree.map(lambda d: 'adamw' if d is None else 'muon', dimensions, is_leaf=is_leaf)
  matrices = contrib.muon(learning_rate, weight_decay=weight_decay,
                          muon_weight_dimension_numbers=muon_dimensions)
  return optax.partition({'muon': matrices, 'adamw': adamw}, labels)


def make_optimizer(params, *, name, peak_lr, muon_lr, weight_decay, warmup_steps, total_steps, grad_clip):
  """AdamW, or Muon beside AdamW, with warm-up and cosine -> (optax transformation, step -> AdamW's rate).

  Weight decay is multiplied by the learning rate, as in AdamW's usual implementations. `grad_clip` bounds
  the global norm of the gradient (0: unbounded). Raises BadInput for an unknown name or impossible numbers.
  """
  if name not in ('adamw', 'muon'):
    raise BadInput(f"optim.name={name!r} is unknown; there are 'adamw' and 'muon'")
  for key, value in dict(lr=peak_lr, muon_lr=muon_lr, weight_decay=weight_decay, grad_clip=grad_clip).items():
    if not 0 <= value < float('inf'):
      raise BadInput(f'optim.{key}={value} must be a finite number of at least 0')
  if not 0 <= warmup_steps < total_steps:
    raise BadInput(f'{warmup_steps} warm-up steps do not fit into {total_steps} steps; '
                   'lower optim.warmup_epochs or train longer')
  schedule = lambda peak: warmup_cosine(peak, warmup_steps=warmup_steps, total_steps=total_steps)
  rate = schedule(peak_lr)
  tx = optax.adamw(rate, weight_decay=weight_decay, mask=decay_mask)
  if name == 'muon':
    tx = muon(params, schedule(muon_lr), weight_decay, tx)
  clip = optax.clip_by_global_norm(grad_clip) if grad_clip else optax.identity()
  return optax.chain(clip, tx), rate
