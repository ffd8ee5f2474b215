"""The paper's figure 7 for one's own run, and where each head looks: numbers by numpy, drawn by matplotlib.

matplotlib is the optional extra `figures`; nothing here opens a window. Figure 6 is `overlay.explained`.
"""
import numpy as np

from vit_jax.errors import BadInput
from vit_jax.explain import heads as heads_lib
from vit_jax.models import tokens
from vit_jax.models import variants

# The paper shows so many filters.
FILTERS = 28


def figure(**options):
  """An empty matplotlib Figure; raises BadInput where matplotlib is missing."""
  try:
    from matplotlib.figure import Figure  # Without pyplot there is no window, and no state that others share.
  except ImportError:
    raise BadInput("figures need matplotlib, which is not installed: pip install 'vit_jax[figures]'") from None
  return Figure(layout='constrained', **options)


def filters(model, params, count=FILTERS):
  """What the first layer looks for: -> (pictures f32[M,k,k,3] in [0,1], M ≤ count, what they are).

  Linear patches: the principal components of the D filters, the strongest first, as in the paper. A conv stem's 3×3
  kernels or a ResNet stem's 7×7 ones are few, and are shown themselves, the strongest first. Grey is 0; each has its
  own scale.
  """
  if model.stem == 'linear':
    kernel = np.asarray(params['embedding']['kernel'], np.float64)
    parts, share = components(kernel.reshape(-1, kernel.shape[-1]).T, count)
    parts = parts.reshape(-1, *kernel.shape[:3])
    about = f'{len(parts)} components of {kernel.shape[-1]} filters, {share:.0%} of their variance'
  else:
    name = 'conv_root' if model.stem == 'resnet' else 'stem_conv_0' if model.stem_channels else 'embedding'
    kernel = np.moveaxis(np.asarray(params[name]['kernel'], np.float64), -1, 0)
    strength = np.square(kernel).sum(axis=(1, 2, 3))
    parts = kernel[np.argsort(-strength, kind='stable')[:count]]
    about = f'the {len(parts)} strongest of {len(kernel)} {kernel.shape[1]}×{kernel.shape[2]} kernels'
  most = np.abs(parts).max(axis=(1, 2, 3), keepdims=True)
  return (0.5 + 0.5 * parts / np.where(most > 0, most, 1)).astype(np.float32), about


def components(rows, count):
  """The first principal components of rows f64[D,F] -> (f64[M,F], each of length one, their share of the variance)."""
  _, strengths, directions = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
  variance = np.square(strengths)
  return directions[:count], variance[:count].sum() / max(variance.sum(), 1e-300)


def positions(model, params, cells):
  """The position embedding of each patch, f32[N,D]: learned, without those of tokens in front; or the fixed table."""
  if model.posemb == 'sincos2d':
    return np.asarray(tokens.sincos2d_positions(*cells, model.hidden_size))[0]
  table = np.asarray(params['Transformer']['posembed_input']['pos_embedding'])[0]
  return table[len(table) - cells[0] * cells[1]:]


def similarity(table, cells):
  """The cosine between the positions of every two patches: f32[N,D] -> f32[h,w,h,w]."""
  unit = table / np.maximum(np.linalg.norm(table, axis=-1, keepdims=True), 1e-12)
  return (unit @ unit.T).reshape(*cells, *cells)


def tile(pictures, columns, between):
  """Small pictures f32[N,k,m,...] in rows of `columns`, a pixel of the value `between` around each: -> f32[H,W,...]."""
  _, k, m, *rest = pictures.shape
  rows = -(-len(pictures) // columns)
  sheet = np.full((rows * (k + 1) + 1, columns * (m + 1) + 1, *rest), between, np.float32)
  for i, picture in enumerate(pictures):
    top, left = i // columns * (k + 1) + 1, i % columns * (m + 1) + 1
    sheet[top:top + k, left:left + m] = picture
  return sheet


def draw_filters(parent, pictures, about, columns=7):
  """Figure 7, left: small pictures in rows, in a matplotlib Figure or SubFigure."""
  ax = parent.subplots()
  ax.imshow(tile(pictures, columns, 1.0), interpolation='nearest')
  ax.axis('off')
  parent.suptitle(f'First layer:\n{about}', fontsize='medium')


def draw_positions(parent, similar, about):
  """Figure 7, centre: f32[h,w,h,w] as h×w tiles, each the similarity of one patch's position to all others'."""
  h, w = similar.shape[:2]
  ax = parent.subplots()
  image = ax.imshow(tile(similar.reshape(-1, h, w), w, np.nan), vmin=similar.min(), vmax=1, cmap='cividis')
  ax.axis('off')
  parent.colorbar(image, ax=ax, label='cosine similarity', shrink=.8)
  parent.suptitle(f'Positions ({about}):\nsimilarity of each patch to all', fontsize='medium')


def draw_distances(parent, distances, even):
  """Figure 7, right: how far each head looks, pixels f32[L,H]; `even` is what attention without a preference has."""
  ax = parent.subplots()
  layers = np.arange(1, len(distances) + 1)
  for head, values in enumerate(distances.T):
    ax.plot(layers, values, 'o', color='tab:blue', alpha=.8, label='a head' if head == 0 else None)
  ax.axhline(even, color='black', linestyle=':', label='even attention')
  ax.set(xlabel='layer', ylabel='mean attention distance, pixels', xticks=layers if len(layers) <= 12 else layers[::4],
         xlim=(.5, len(layers) + .5), ylim=(0, 1.1 * max(even, distances.max())))
  ax.legend(frameon=False, loc='lower right')
  parent.suptitle('How far each head looks', fontsize='medium')


def even_distance(model, cells):
  """The mean distance between two patches, pixels, the same one twice included."""
  return float(np.linalg.norm(heads_lib.shifts_between(cells), axis=-1).mean() * variants.stride(model))


def figure_7(explainer, mean_attention):
  """The paper's figure 7 of an explainer.Explainer and what its `mean_attention` gave: -> matplotlib Figure."""
  model, params, cells = explainer.model, explainer.params, explainer.cells
  whole = figure(figsize=(13, 4.2))
  left, centre, right = whole.subfigures(1, 3, width_ratios=(1, 1.1, 1))
  draw_filters(left, *filters(model, params))
  kind = 'learned' if model.posemb == 'learned' else 'fixed sine-cosine'
  draw_positions(centre, similarity(positions(model, params, cells), cells), kind)
  draw_distances(right, explainer.distances(mean_attention), even_distance(model, cells))
  return whole


def figure_heads(mean_attention, cells):
  """Where each head looks, by shift: patch to patch f32[L,H,N,N], means over pictures -> matplotlib Figure."""
  shares, count = heads_lib.by_shift(mean_attention, cells)
  shares[:, :, ~heads_lib.counted(count)] = np.nan
  found = iter(heads_lib.classify(mean_attention, cells))
  num_layers, num_heads = shares.shape[:2]
  whole = figure(figsize=(1.9 * num_heads + 1, 2.2 * num_layers + .6))
  axes = whole.subplots(num_layers, num_heads, squeeze=False, sharex=True, sharey=True)
  h, w = cells
  for ax, values in zip(axes.flat, shares.reshape(-1, *shares.shape[2:]), strict=True):
    head = next(found)
    image = ax.imshow(100 * values, cmap='cividis', vmin=0, vmax=100 * np.nanmax(shares),
                      extent=(-w + .5, w - .5, h - .5, -h + .5))
    ax.plot(0, 0, '+', color='white')
    ax.set_title(f'layer {head.layer + 1}, head {head.head + 1}: {head.kind}\n{head.share:.0%} at {head.shift}',
                 fontsize='small')
    ax.set(xlim=(-w / 2 - .5, w / 2 + .5), ylim=(h / 2 + .5, -h / 2 - .5))  # Beyond, shifts have too few queries.
    ax.locator_params(integer=True, nbins=5)
  even = 100 / (h * w)
  whole.colorbar(image, ax=axes, label=f'attention, % (even: {even:.2g})')
  whole.supxlabel('patches to the right', fontsize='medium')
  whole.supylabel('patches down', fontsize='medium')
  whole.suptitle('Attention by shift from the query (white cross)', fontsize='medium')
  return whole
