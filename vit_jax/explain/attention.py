"""What a Vision Transformer looks at: attention, rollout, relevance for a class, and how far the heads look.

A map is f32[B,h,w], a number for each token on the grid of patches. All maps here follow attention alone. They leave
out what else carries a patch's content to the answer, or from one patch to another:

- each token's own way through MLPs and LayerNorms, which change what it says. A model whose head reads the mean over
  the patches ('gap') also reads each patch directly, and rollout and relevance know that only as a constant;
- convolutions: with a conv stem or a ResNet stem a token has seen its neighbours' pixels before the first block, and
  with `conv_positions` neighbours are mixed before each block. What a map puts on a token may lie beside it.

`faithfulness.py` measures how well a map finds the evidence nevertheless.
"""
from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from vit_jax.errors import BadInput
from vit_jax.models import variants
from vit_jax.models import vit


def check(model):
  """Raises BadInput where the model has no attention to look at."""
  if not isinstance(model, vit.VisionTransformer):
    raise BadInput(f'a {type(model).__name__} has no attention, so that there is nothing to explain it by; take a ViT')


def grid(model, image_shape):
  """Tokens down and across, (h, w), of pictures [...,H,W,C]; raises BadInput where they do not divide into them."""
  check(model)
  sides = image_shape[-3:-1]
  for side in sides:
    variants.check_image_size(model, side)
  return tuple(side // variants.stride(model) for side in sides)


def layers_of(collection, num_layers):
  """The attention in a Flax collection, 'intermediates' or 'perturbations', layer after layer: -> [L,B,H,T,T]."""
  flat = traverse_util.flatten_dict(collection, sep='/')
  found = [flat[f'Transformer/encoderblock_{i}/MultiHeadDotProductAttention_1/weights'] for i in range(num_layers)]
  # What was sown is a tuple of all that was sown there: one.
  return jnp.stack([leaf[0] if isinstance(leaf, tuple) else leaf for leaf in found])


def attend(model, params, images):
  """Pictures f32[B,S,S,3] in [-1,1] -> (logits f32[B,K], attention A f32[L,B,H,T,T], each row of which sums to one).

  Computed in float32 whatever the model was trained in. A[l,b,h,q,k] is what query token q takes from key token k.
  """
  check(model)
  logits, seen = model.clone(dtype=jnp.float32).apply({'params': params}, images, train=False, mutable='intermediates')
  return logits, layers_of(seen['intermediates'], model.num_layers)


def attend_and_relate(model, params, images, classes):
  """As `attend`, and what each picture's C classes i32[B,C] rest on: -> (logits, A, relevance R f32[C,B,T,T])."""
  check(model)
  if not model.num_classes:
    raise BadInput('these weights have no classes that a patch could speak for; take those of a trained classifier')
  model = model.clone(dtype=jnp.float32)
  answer = lambda variables, mutable: model.apply(
      {'params': params, **variables}, images, train=False, mutable=mutable)
  like = jax.eval_shape(lambda: answer({}, ['perturbations']))[1]['perturbations']
  zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), like)
  logits, pull_back, seen = jax.vjp(
      lambda changes: answer({'perturbations': changes}, ['intermediates']), zeros, has_aux=True)
  maps = layers_of(seen['intermediates'], model.num_layers)

  def of_one(chosen):
    """Each picture's logit for its class i32[B] depends on its own attention only, so that one sum gives them all."""
    gradients, = pull_back(jax.nn.one_hot(chosen, logits.shape[-1]))
    return relevance(maps, layers_of(gradients, model.num_layers))
  return logits, maps, jax.lax.map(of_one, jnp.swapaxes(classes, 0, 1))


def rollout(maps):
  """Attention through all layers: f32[L,B,H,T,T] -> f32[B,T,T], each row of which sums to one (Abnar & Zuidema 2020).

  Half of each layer's output is taken for its input (the residual connection), the other half for the mean over the
  heads; the product over the layers then says what each last token is made of. It is the same for each class.
  """
  def through(joint, layer):
    mixed = (layer.mean(axis=1) + jnp.eye(layer.shape[-1])) / 2
    return mixed / mixed.sum(axis=-1, keepdims=True) @ joint, None
  _, b, _, t, _ = maps.shape
  return jax.lax.scan(through, jnp.broadcast_to(jnp.eye(t), (b, t, t)), maps)[0]


def relevance(maps, gradients):
  """What a class rests on: A and its gradient, f32[L,B,H,T,T] each -> R f32[B,T,T] (Chefer, Gur & Wolf 2021).

  In each layer R ← R + Ā R from the identity on (their equations 5 and 6), with Ā the mean over the heads of the
  positive part of ∇A ⊙ A: attention counts where more of it would raise the class's logit, by whatever it changes in
  later layers too.
  """
  def through(joint, layer):
    weights, gradient = layer
    return joint + jnp.maximum(gradient * weights, 0).mean(axis=1) @ joint, None
  _, b, _, t, _ = maps.shape
  return jax.lax.scan(through, jnp.broadcast_to(jnp.eye(t), (b, t, t)), (maps, gradients))[0]


def on_grid(model, joint, cells):
  """What the head reads of each patch: [...,T,T] -> a map [...,h,w] on the grid `cells` = (h, w).

  The row of the class token; the mean of the class and distillation tokens' rows where the head reads both; or the mean
  over the patches' rows. Columns of the tokens in front of the patches are left out.
  """
  front, reads = vit.CLASSIFIERS[model.classifier]
  rows = {'cls': slice(0, 1), 'both': slice(0, 2), 'mean': slice(len(front), None)}[reads]
  read = joint[..., rows, len(front):].mean(axis=-2)
  return read.reshape(*read.shape[:-1], *cells)


def rollout_map(model, maps, cells):
  """Attention f32[L,B,H,T,T] -> the map of its rollout, f32[B,h,w]."""
  return on_grid(model, rollout(maps), cells)


def relevance_map(model, related, cells):
  """R [...,T,T] of `relevance` -> its map [...,h,w], at least 0.

  Without the identity that R starts from: under a head that reads the mean over the patches it would add the same to
  each.
  """
  return on_grid(model, related - jnp.eye(related.shape[-1]), cells)


def between_patches(model, maps):
  """Attention from patch to patch, [...,T,T] -> [...,N,N], scaled so that each row sums to one.

  What goes to tokens in front of the patches, such as a class token, is left out.
  """
  front = len(vit.CLASSIFIERS[model.classifier][0])
  inner = maps[..., front:, front:]
  return inner / jnp.maximum(inner.sum(axis=-1, keepdims=True), 1e-12)


def distances(model, mean_maps, cells):
  """How far each head looks, pixels: patch to patch f32[L,H,N,N], means over pictures -> f32[L,H] (paper, figure 7).

  The distance between the middles of two patches, weighted by attention, mean over the queries (appendix D.7). Where
  attention is even it is the mean distance between two patches. With stems that overlap, patches see a little further.
  """
  places = np.stack(np.mgrid[:cells[0], :cells[1]], axis=-1).reshape(-1, 2) * variants.stride(model)
  between = np.linalg.norm(places[:, None] - places[None], axis=-1)
  return np.einsum('lhqk,qk->lh', np.asarray(mean_maps, np.float64), between) / len(places)
