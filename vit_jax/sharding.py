"""One device path: a mesh over all devices, batches split on their first axis, everything else replicated."""
import jax
from jax.sharding import AxisType
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec

from vit_jax.errors import BadInput


def make_mesh(devices=None):
  """A one-dimensional mesh called 'data' over all devices (or those given)."""
  devices = jax.devices() if devices is None else devices
  return jax.make_mesh((len(devices),), ('data',), axis_types=(AxisType.Auto,), devices=devices)


def replicated(mesh):
  """The sharding of what every device holds whole: parameters, optimizer state, metrics."""
  return NamedSharding(mesh, PartitionSpec())


def split(mesh):
  """The sharding of a batch: its first axis, cut into one part per device."""
  return NamedSharding(mesh, PartitionSpec('data'))


def shard_batch(batch, mesh):
  """Host-local arrays [B,…] -> global arrays that are split over the devices of the mesh."""
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
