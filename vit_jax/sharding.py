"""One device path: a mesh over all devices, batches split on their first axis, everything else replicated, or split.

The devices may be those of several processes; each hands over its share of a batch.
"""
import math

import jax
from jax.sharding import AxisType
from jax.sharding import Mesh
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec
import numpy as np

from vit_jax.errors import BadInput


def make_mesh(devices=None):
  """A one-dimensional mesh called 'data' over all devices (or those given)."""
  # In the order of the processes, unlike jax.make_mesh's, so that answers come in the order of the pictures.
  return Mesh(np.array(jax.devices() if devices is None else devices), ('data',), axis_types=(AxisType.Auto,))


def replicated(mesh):
  """The sharding of what every device holds whole: parameters, optimizer state, metrics."""
  return NamedSharding(mesh, PartitionSpec())


def split(mesh):
  """The sharding of a batch: its first axis, cut into one part per device."""
  return NamedSharding(mesh, PartitionSpec('data'))


# Arrays of fewer numbers are held whole: to split them would save nothing, and cost a message each.
SMALL = 2**12


def fully_sharded(shape, mesh):
  """The sharding of a parameter or its optimizer state where no device holds all (ZeRO, Rajbhandari et al. 2020).

  The longest axis that can be cut into equal parts is; small arrays, and those without such an axis, are replicated.
  """
  axes = [axis for axis, length in enumerate(shape) if length and length % mesh.size == 0]
  if mesh.size == 1 or not axes or math.prod(shape) < SMALL:
    return replicated(mesh)
  cut = max(axes, key=lambda axis: shape[axis])
  return NamedSharding(mesh, PartitionSpec(*['data' if axis == cut else None for axis in range(len(shape))]))


def of(tree):
  """The sharding of each array of a tree, or of what stands for one."""
  return jax.tree.map(lambda leaf: leaf.sharding, tree)


def gathered(tree, mesh):
  """Arrays that may be split over devices, of other processes too -> numpy arrays."""
  if all(leaf.is_fully_replicated for leaf in jax.tree.leaves(tree) if isinstance(leaf, jax.Array)):
    return jax.device_get(tree)
  return jax.device_get(jax.jit(lambda tree: tree, out_shardings=replicated(mesh))(tree))


def shard_batch(batch, mesh):
  """The rows that this process has of a batch, [B/P,…] -> global arrays [B,…], split over the devices of the mesh."""
  put = lambda x: jax.make_array_from_process_local_data(split(mesh), x)
  return jax.tree.map(put, batch)


def check_batch_size(key, batch_size, num_devices, accum_steps=1):
  """Raises BadInput where a batch can't be cut into equal parts for the devices and accumulation steps."""
  parts = num_devices * accum_steps
  if batch_size < parts or batch_size % parts:
    what = f'{num_devices} device{"s" * (num_devices > 1)}'
    if accum_steps > 1:
      what += f' times accum_steps={accum_steps}'
    near = max(round(batch_size / parts), 1) * parts
    raise BadInput(f'{key}={batch_size} cannot be cut into equal parts for {what}; try {key}={near}')
