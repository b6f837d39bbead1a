"""What training carries from step to step."""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Key, PyTree

from framebridge_jax.training import freezing, sharding

Init = Callable[[Key[Array, '']], Any]


class TrainState(struct.PyTreeNode):
  """Parameters, their moving averages, the optimizer's state, the counters.

  Shapes and shardings of a state are trees of this type too.

  Attributes:
    params: what is trained, and what is frozen beside it.
    ema: an average for each decay, by `ema_name`, of what is trained.
    opt_state: of optax.
    step: steps taken, skipped ones included.
    skipped: steps that changed nothing.
    typical_loss: running mean of the losses of the others.
  """

  params: PyTree
  ema: dict[str, PyTree]
  opt_state: PyTree
  step: PyTree  # Int[Array, ''] in a state
  skipped: PyTree  # Int[Array, '']
  typical_loss: PyTree  # Float[Array, '']


def ema_name(decay: float) -> str:
  """Name of the average with this decay."""
  return f'{decay:g}'


def create(
  init: Init,
  optimizer: optax.GradientTransformation,
  key: Key[Array, ''],
  mesh: jax.sharding.Mesh,
  *,
  ema_decays: Sequence[float],
  frozen: freezing.Frozen = freezing.nothing,
) -> TrainState:
  """Initialises a state that is born sharded over the mesh.

  `init(key)` gives parameters that may be boxed with logical axis names; the
  state's own arrays are not.
  """
  boxed = _maker(init, optimizer, ema_decays, frozen)
  shardings = sharding.of_boxed(jax.eval_shape(boxed, key), mesh)
  make = jax.jit(lambda key: nn.unbox(boxed(key)), out_shardings=shardings)
  return make(key)


def layout(
  init: Init,
  optimizer: optax.GradientTransformation,
  mesh: jax.sharding.Mesh,
  *,
  ema_decays: Sequence[float],
  frozen: freezing.Frozen = freezing.nothing,
) -> TrainState:
  """Shapes and places of what `create` makes; nothing is computed."""
  boxed = _maker(init, optimizer, ema_decays, frozen)
  shapes = jax.eval_shape(boxed, jax.random.key(0))
  return jax.tree.map(
    lambda x, where: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where),
    jax.eval_shape(nn.unbox, shapes),
    sharding.of_boxed(shapes, mesh),
  )


def _maker(init, optimizer, ema_decays, frozen):
  def boxed(key):
    params = init(key)
    trained, _ = freezing.split(params, frozen)
    return TrainState(
      params=params,
      ema={ema_name(decay): _copy(trained) for decay in ema_decays},
      opt_state=optimizer.init(params),
      step=jnp.zeros((), jnp.int32),
      skipped=jnp.zeros((), jnp.int32),
      typical_loss=jnp.zeros((), jnp.float32),
    )

  return boxed


def with_params(state: TrainState, params: PyTree) -> TrainState:
  """The state with other parameters, averages included, laid out as before."""
  placed = jax.tree.map(
    lambda new, old: jax.device_put(new.astype(old.dtype), old.sharding),
    params,
    state.params,
  )
  trained = {
    name: _copy(freezing.like(average, placed))
    for name, average in state.ema.items()
  }
  return state.replace(params=placed, ema=trained)


def averaged(state: TrainState, name: str) -> PyTree:
  """All parameters, those that are trained by their average of this name."""
  return freezing.over(state.params, state.ema[name])


def _copy(tree):
  """The step gives its own buffers away, each only once."""
  return jax.tree.map(jnp.copy, tree)
