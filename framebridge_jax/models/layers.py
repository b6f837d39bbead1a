"""Layers that flax has, used in the form that is fast here; and where they lie.

Activations name their axes, as parameters do.  Inside a mesh (`jax.set_mesh`)
with rules (`flax.linen.logical_axis_rules`) the names say along which side each
axis lies; outside both they mean nothing.
"""

import math
from collections.abc import Callable

import flax.linen as nn
import jax
from flax.linen import spmd
from jaxtyping import Array, Float

FRAMES, PLACES = 'frames', 'places'
CLIP = ('batch', FRAMES)  # what begins with samples and frames


def flat(
  layer: nn.Dense,
) -> Callable[[Float[Array, '...']], Float[Array, '...']]:
  """Applies a dense layer to all tokens as one matrix, see `by_tokens`."""
  return lambda x: by_tokens(layer, x)


def by_tokens(
  layer: Callable[[Float[Array, '...']], Float[Array, '...']],
  x: Float[Array, '...'],
) -> Float[Array, '...']:
  """Applies a function of rows to all tokens as one matrix.

  Over several leading axes XLA contracts them one by one for the weights'
  gradient, which halves its speed on a CPU; elsewhere it makes no difference.
  Where a clip's tokens lie apart they stay so.
  """
  if apart(FRAMES):
    return layer(x)
  y = layer(x.reshape(-1, x.shape[-1]))
  return y.reshape(*x.shape[:-1], y.shape[-1])


def place(
  x: Float[Array, '...'], names: tuple[str | None, ...]
) -> Float[Array, '...']:
  """Lays an activation along the mesh by the names of its first axes.

  The others stay whole, and so does an axis that its side does not divide.
  """
  sizes = _sizes()
  if not sizes:
    return x
  sides = spmd.logical_to_mesh_axes(names) or ()
  fitting = [
    side if side and size % _extent(sizes, side) == 0 else None
    for size, side in zip(x.shape, sides, strict=False)
  ]
  return jax.lax.with_sharding_constraint(x, jax.P(*fitting))


def apart(name: str) -> bool:
  """Whether what an axis of this name holds lies on several devices.

  Such an axis must not be merged with another: what is split along two cannot
  be split along one, and every device would get all of it.
  """
  sizes = _sizes()
  if not sizes:
    return False
  (side,) = spmd.logical_to_mesh_axes((name,)) or (None,)
  return bool(side) and _extent(sizes, side) > 1


def _sizes():
  """Of the sides of the mesh that names mean something in; empty: none."""
  if not nn.get_logical_axis_rules():
    return {}
  return dict(jax.sharding.get_abstract_mesh().shape)


def _extent(sizes, side):
  names = (side,) if isinstance(side, str) else side
  return math.prod(sizes[name] for name in names)
