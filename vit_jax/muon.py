"""Muon (Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"), for the blocks' matrices."""
import math

from flax import traverse_util
import jax
import jax.numpy as jnp
import optax
from optax import contrib

# The quintic whose iteration brings singular values to about one, and how often it is applied.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5


def matrices(params):
  """The shape of the matrix that Muon sees in each parameter, by path: {('Transformer', …): (inputs, outputs)}.

  The matrices are the kernels inside the encoder blocks, or inside a ResNet's units; AdamW takes all else.
  Attention keeps its heads in an axis of their own ([D,heads,D_h], and [heads,D_h,D] on the way out); they count as
  one D×D matrix. A convolution f32[k,k,C,F] counts as a matrix of k·k·C inputs, a depthwise one between blocks,
  f32[k,k,D], as one of k inputs and k·D outputs, as all recipes here were trained.
  """
  found = {}
  for path, leaf in traverse_util.flatten_dict(params).items():
    if any(name.startswith(('encoderblock', 'stage')) for name in path) and path[-1] == 'kernel':
      several = path[-2] == 'out' or leaf.ndim == 4  # axes of inputs
      inputs = math.prod(leaf.shape[:-1]) if several else leaf.shape[0]
      found[path] = (inputs, math.prod(leaf.shape) // inputs)
  return found


def in_stacks(tx):
  """Runs a transformation on the blocks' matrices in stacks of one shape, {'128×256': f32[n,128,256], …}.

  The same numbers as matrix by matrix, but one large product in place of n small ones, and a program that
  does not grow with the depth of the model.
  """
  def stack(tree):
    flat, stacks = traverse_util.flatten_dict(tree), {}
    for path, (inputs, outputs) in sorted(matrices(tree).items()):
      stacks.setdefault(f'{inputs}×{outputs}', []).append(flat[path].reshape(inputs, outputs))
    return {shape: jnp.stack(leaves) for shape, leaves in stacks.items()}

  def unstack(stacks, like):
    flat = traverse_util.flatten_dict(like)
    leaves = {shape: iter(stack) for shape, stack in stacks.items()}
    for path, (inputs, outputs) in sorted(matrices(like).items()):
      flat[path] = next(leaves[f'{inputs}×{outputs}']).reshape(flat[path].shape)
    return traverse_util.unflatten_dict(flat)

  def update(gradients, state, params):
    updates, state = tx.update(stack(gradients), state, stack(params))
    return unstack(updates, gradients), state

  return optax.GradientTransformation(lambda params: tx.init(stack(params)), update)


def orthogonal(stack, dtype):
  """Each matrix's singular values brought to between 0.5 and 1.5, by products in `dtype`: f32[n,A,B] -> f32[n,A,B].

  The matrices are of norm one at most. In bfloat16, as Jordan et al. have it, the products are several times as fast
  where there is hardware for that, and the result is another by about 3 %: less than Newton-Schulz leaves open.
  """
  tall = stack.shape[1] > stack.shape[2]
  x = (stack.mT if tall else stack).astype(dtype)
  a, b, c = COEFFICIENTS
  for _ in range(ITERATIONS):  # X ← a·X + (b·XXᵀ + c·(XXᵀ)²)·X
    square = x @ x.mT
    x = a * x + (b * square + c * square @ square) @ x
  return (x.mT if tall else x).astype(stack.dtype)


def beside(others, params, learning_rate, weight_decay, dtype):
  """Muon for the matrices of the blocks, with its products in `dtype`; the transformation `others` for the rest."""
  ours = matrices(params)
  labels = traverse_util.path_aware_map(lambda path, _: 'muon' if path in ours else 'others', params)
  of_a_stack = lambda stacks: jax.tree.map(lambda _: contrib.MuonDimensionNumbers(1, 2), stacks)
  # Longer steps where there are more outputs than inputs, as the norm of what is added should not depend on that.
  turned = lambda stack: orthogonal(stack, dtype) * max(1, stack.shape[2] / stack.shape[1])**0.5
  stacked = optax.chain(
      contrib.scale_by_muon(ns_steps=0, weight_dimension_numbers=of_a_stack),  # Momentum, and matrices of norm one.
      optax.stateless(lambda stacks, _: jax.tree.map(turned, stacks)),
      optax.add_decayed_weights(weight_decay), optax.scale_by_learning_rate(learning_rate))
  return optax.partition({'muon': in_stacks(stacked), 'others': others}, labels)
