"""One training step, for any loss."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import einops
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, PyTree

from framebridge_jax import arrays
from framebridge_jax.training import freezing
from framebridge_jax.training import state as states

Batch = Mapping[str, Array]
Scalars = dict[str, Array]
Loss = Callable[
  [PyTree, Batch, arrays.SampleKeys], tuple[Float[Array, ''], Scalars]
]
Position = Int[Array, '']
Step = Callable[
  [states.TrainState, Batch, Position], tuple[states.TrainState, Scalars]
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spikes:
  """Losses far above what is usual.

  Attributes:
    factor: a loss of so many times the running mean is a spike.
    skip: whether a spike changes nothing.
    patience: steps before there is a usual loss.
    memory: steps that the running mean remembers.
  """

  factor: float = 100.0
  skip: bool = False
  patience: int = 20
  memory: int = 100


NO_SKIPPING = Spikes()


def make_step(
  loss: Loss,
  optimizer: optax.GradientTransformation,
  *,
  ema_decays: Sequence[float],
  key: Key[Array, ''],
  accumulate: int = 1,
  spikes: Spikes = NO_SKIPPING,
  frozen: freezing.Frozen = freezing.nothing,
) -> Step:
  """Builds `(state, batch, position) -> (state, scalars)`, pure, to be jitted.

  `loss(params, batch, keys)` gives a scalar and more numbers to report.
  `keys` has one key a sample, folded from the batch's position in the data and
  the sample's place in the global batch: neither devices nor resuming change
  them.  A step whose loss, gradient or update is not finite, or whose loss is
  a spike to be skipped, changes nothing but the counters.

  Args:
    loss: as said.
    optimizer: of optax.
    ema_decays: of the averages in the state.
    key: of all noise.
    accumulate: parts of the batch that are seen one after the other, for
      memory; their gradients' mean is taken.
    spikes: what an unusual loss is.
    frozen: parameters that have no gradient, as the optimizer must know, too.
  """

  def step(state, batch, position):
    ids = jnp.arange(len(batch['label']))
    keys = arrays.sample_keys(jax.random.fold_in(key, position), ids)
    trained, rest = freezing.split(state.params, frozen)
    value, scalars, grads = _gradient(
      lambda part, *args: loss(freezing.joined(part, rest), *args),
      trained,
      batch,
      keys,
      accumulate,
    )
    # optax promotes dtypes by itself, which strict promotion would refuse.
    with jax.numpy_dtype_promotion('standard'):
      updates, opt_state = optimizer.update(
        freezing.joined(grads, jax.tree.map(jnp.zeros_like, rest)),
        state.opt_state,
        state.params,
      )
      updates, _ = freezing.split(updates, frozen)
      trained = optax.apply_updates(trained, updates)
    applied = state.step - state.skipped
    grad_norm = optax.tree.norm(grads)
    spike = arrays.safe_divide(value, state.typical_loss, 1.0)
    good = jnp.isfinite(value + grad_norm + optax.tree.norm(updates))
    if spikes.skip:
      good &= (applied < spikes.patience) | (spike < spikes.factor)
    new = state.replace(
      params=freezing.joined(trained, rest),
      ema=_averaged(state.ema, trained, ema_decays, applied),
      opt_state=opt_state,
      typical_loss=_typical(state.typical_loss, value, applied, spikes.memory),
    )
    new = jax.tree.map(lambda x, old: jnp.where(good, x, old), new, state)
    skipped = 1 - good.astype(jnp.int32)
    new = new.replace(step=state.step + 1, skipped=state.skipped + skipped)
    return new, {
      'loss': value,
      'grad_norm': grad_norm,
      'spike': spike,
      'skipped': skipped,
      **scalars,
    }

  return step


def jitted(step_fn: Step, layout: states.TrainState) -> jax.stages.Wrapped:
  """The step as it is run: its state is given away, and stays where it is.

  The compiler might move the state, and compile the next step for the new
  layout.

  Args:
    step_fn: what `make_step` built.
    layout: a state, or its shapes, with shardings.
  """
  places = jax.tree.map(lambda x: x.sharding, layout)
  # Its numbers lie as the counter does: whole, on every host.
  return jax.jit(step_fn, donate_argnums=0, out_shardings=(places, places.step))


def _gradient(loss, params, batch, keys, accumulate):
  """Loss, other numbers and gradient, as means over the batch's parts."""
  differentiate = jax.value_and_grad(loss, has_aux=True)
  if accumulate == 1:
    (value, scalars), grads = differentiate(params, batch, keys)
    return value, scalars, grads

  def add(total, part):
    (value, scalars), grads = differentiate(params, *part)
    return jax.tree.map(jnp.add, total, (value, scalars, grads)), None

  # Every part has samples of all devices.
  parts = jax.tree.map(
    lambda x: einops.rearrange(x, '(b k) ... -> k b ...', k=accumulate),
    (batch, keys),
  )
  first = jax.tree.map(lambda x: x[0], parts)
  shapes = jax.eval_shape(lambda: differentiate(params, *first))
  (value, scalars), grads = jax.tree.map(
    lambda x: jnp.zeros(x.shape, x.dtype), shapes
  )
  total, _ = jax.lax.scan(add, (value, scalars, grads), parts)
  return jax.tree.map(lambda x: x / accumulate, total)


def _averaged(ema, params, decays, applied):
  """Early on an average may remember only a tenth of what has been seen."""
  count = applied.astype(jnp.float32)
  averages = {}
  for decay in decays:
    now = jnp.minimum(decay, (1 + count) / (10 + count))
    name = states.ema_name(decay)
    with jax.numpy_dtype_promotion('standard'):
      averages[name] = optax.incremental_update(params, ema[name], 1 - now)
  return averages


def _typical(typical, value, applied, memory):
  share = jnp.maximum(1 / (1 + applied.astype(jnp.float32)), 1 / memory)
  return typical + (value.astype(jnp.float32) - typical) * share
