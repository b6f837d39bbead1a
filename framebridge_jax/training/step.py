"""One training step, for any loss."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key, PyTree

from framebridge_jax import arrays
from framebridge_jax.training import state as states

Batch = Mapping[str, Array]
Scalars = dict[str, Float[Array, '']]
Loss = Callable[
  [PyTree, Batch, arrays.SampleKeys], tuple[Float[Array, ''], Scalars]
]


def make_step(
  loss: Loss,
  optimizer: optax.GradientTransformation,
  *,
  ema_decay: float,
  key: Key[Array, ''],
) -> Callable[[states.TrainState, Batch], tuple[states.TrainState, Scalars]]:
  """Builds `(state, batch) -> (state, scalars)`, pure, to be jitted.

  `loss(params, batch, keys)` gives a scalar and more scalars to report.
  `keys` has one key a sample, folded from the step and the sample's place in
  the global batch: neither devices nor resuming change them.
  """

  def step(state, batch):
    ids = jnp.arange(len(batch['label']))
    keys = arrays.sample_keys(jax.random.fold_in(key, state.step), ids)
    (value, scalars), grads = jax.value_and_grad(loss, has_aux=True)(
      state.params, batch, keys
    )
    # optax promotes dtypes by itself, which strict promotion would refuse.
    with jax.numpy_dtype_promotion('standard'):
      updates, opt_state = optimizer.update(
        grads, state.opt_state, state.params
      )
      params = optax.apply_updates(state.params, updates)
      # Early on the average may remember only a tenth of what has been seen.
      count = state.step.astype(jnp.float32)
      decay = jnp.minimum(ema_decay, (1 + count) / (10 + count))
      ema = optax.incremental_update(params, state.ema, 1 - decay)
    scalars = {
      'loss': value,
      'grad_norm': optax.tree.norm(grads),
      **scalars,
    }
    new = states.TrainState(
      params=params, ema=ema, opt_state=opt_state, step=state.step + 1
    )
    return new, scalars

  return step
