"""The device mesh, and which logical axis of an array lies along which side.

Arrays name their axes (`batch`, `embed`, `heads`, ...); RULES say where each
name goes.  One table serves one CPU, a GPU node and a pod.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import numpy as np

AXES = ('data', 'fsdp', 'tensor', 'frames')
RULES = (
  ('batch', ('data', 'fsdp')),
  ('embed', 'fsdp'),
  ('heads', 'tensor'),
  ('mlp', 'tensor'),
  ('frames', 'frames'),
  ('places', 'frames'),
)


def make_mesh(
  sizes: dict[str, int], devices: list[jax.Device] | None = None
) -> jax.sharding.Mesh:
  """A mesh over the devices with the axes of AXES.

  One size may be -1 and takes the devices that the others leave.

  Raises:
    ValueError: the sizes do not multiply to the number of devices.
  """
  devices = jax.devices() if devices is None else devices
  sizes = {axis: sizes[axis] for axis in AXES}
  fixed = math.prod(size for size in sizes.values() if size != -1)
  shape = [
    len(devices) // fixed if size == -1 else size for size in sizes.values()
  ]
  if math.prod(shape) != len(devices):
    raise ValueError(
      f'mesh {sizes} needs {math.prod(shape)} devices, there are '
      f'{len(devices)}; set one axis to -1 to take what is left'
    )
  return jax.make_mesh(
    tuple(shape),
    AXES,
    axis_types=(jax.sharding.AxisType.Auto,) * len(AXES),
    devices=devices,
  )


def of_boxed(abstract: Any, mesh: jax.sharding.Mesh) -> Any:
  """Shardings of a tree whose leaves may be boxed with logical axis names.

  An axis that its side of the mesh does not divide is replicated.
  """
  specs = nn.get_partition_spec(abstract)
  shardings = nn.logical_to_mesh_sharding(specs, mesh, RULES)
  shapes = jax.eval_shape(nn.unbox, abstract)

  def fit(leaf, target):
    sides = [
      side if side is None or size % _extent(mesh, side) == 0 else None
      for size, side in zip(leaf.shape, target.spec, strict=False)
    ]
    return jax.sharding.NamedSharding(mesh, jax.P(*sides))

  return jax.tree.map(fit, shapes, shardings)


def batch_sharding(mesh: jax.sharding.Mesh) -> jax.sharding.NamedSharding:
  """Samples along `data` and `fsdp`, everything else whole."""
  return jax.sharding.NamedSharding(mesh, jax.P(('data', 'fsdp')))


def replicated(mesh: jax.sharding.Mesh) -> jax.sharding.NamedSharding:
  """A whole copy on every device."""
  return jax.sharding.NamedSharding(mesh, jax.P())


def target(
  x: jax.Array | jax.ShapeDtypeStruct,
  layout: jax.sharding.Sharding | None = None,
) -> jax.ShapeDtypeStruct:
  """Shape, type and layout of an array, or another layout for it."""
  return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=layout or x.sharding)


def place_batch(batch: Any, mesh: jax.sharding.Mesh) -> Any:
  """Global arrays from this process's share of a batch."""
  target = batch_sharding(mesh)
  return jax.tree.map(
    lambda x: jax.make_array_from_process_local_data(target, np.asarray(x)),
    batch,
  )


def _extent(mesh, side):
  names = (side,) if isinstance(side, str) else side
  return math.prod(mesh.shape[name] for name in names)
