"""Weights that answer: pictures in, probabilities of the classes out."""
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vit_jax import augment
from vit_jax import run
from vit_jax.errors import BadInput
from vit_jax.weights import load

# Pictures that are answered in one piece; fewer are padded, so that one program answers all.
BATCH = 64


@dataclasses.dataclass(frozen=True)
class Predictor:
  """A model with its weights, the names of its classes, and the size of the pictures it takes."""
  class_names: tuple[str, ...]
  image_size: int
  about: str  # which weights these are
  params: Any
  _answer: Any  # params, u8[BATCH,S,S,3] -> f32[BATCH,K], compiled at its first call

  @classmethod
  def load(cls, path):
    """Opens a run folder, a .safetensors file or shipped weights by name; raises BadInput for what is none of them.

    It computes in float32 whatever it was trained in, so that all machines give the same answer.
    """
    flat, description, about = load.read(path)
    if not description or not description['class_names']:
      raise BadInput(f'{path} has no head, so it names no classes; train one with --config.init={path}')
    model = run.model_from(description | {'dtype': 'float32'})
    size = description['preprocessing']['image_size']
    like = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, size, size, 3)), train=False))['params']
    params = jax.tree.map(jnp.asarray, load.fit(flat, like, path))

    @jax.jit
    def answer(params, images):
      logits = model.apply({'params': params}, augment.normalize(images), train=False)
      return jax.nn.softmax(logits.astype(jnp.float32))
    return cls(tuple(description['class_names']), size, about, params, answer)

  def probabilities(self, images):
    """Pictures u8[N,S,S,3] -> probabilities f32[N,K]."""
    found = [np.zeros((0, len(self.class_names)), np.float32)]
    for start in range(0, len(images), BATCH):
      batch = images[start:start + BATCH]
      padded = np.concatenate([batch, np.zeros((BATCH - len(batch), *batch.shape[1:]), np.uint8)])
      found.append(np.asarray(self._answer(self.params, padded))[:len(batch)])
    return np.concatenate(found)
