"""What training carries from step to step."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Key, PyTree

from framebridge_jax.training import sharding


class TrainState(struct.PyTreeNode):
  """Parameters, their moving average, the optimizer's state, the step.

  Shapes and shardings of a state are trees of this type too.
  """

  params: PyTree
  ema: PyTree
  opt_state: PyTree
  step: PyTree  # Int[Array, ''] in a state


def create(
  init: Callable[[Key[Array, '']], Any],
  optimizer: optax.GradientTransformation,
  key: Key[Array, ''],
  mesh: jax.sharding.Mesh,
) -> TrainState:
  """Initialises a state that is born sharded over the mesh.

  `init(key)` gives parameters that may be boxed with logical axis names; the
  state's own arrays are not.
  """

  def boxed(key):
    params = init(key)
    return TrainState(
      params=params,
      ema=jax.tree.map(jnp.copy, params),
      opt_state=optimizer.init(params),
      step=jnp.zeros((), jnp.int32),
    )

  shardings = sharding.of_boxed(jax.eval_shape(boxed, key), mesh)
  make = jax.jit(lambda key: nn.unbox(boxed(key)), out_shardings=shardings)
  return make(key)


def with_params(state: TrainState, params: PyTree) -> TrainState:
  """The state with other parameters, average included, laid out as before."""
  placed = jax.tree.map(
    lambda new, old: jax.device_put(new.astype(old.dtype), old.sharding),
    params,
    state.params,
  )
  return state.replace(params=placed, ema=jax.tree.map(jnp.copy, placed))
