"""Times and known frames drawn for training.

PTSS (FVDM 2.3): with probability `p_frames` every frame of a sample draws its
own time, otherwise one time serves the whole clip.

`task_mix` shows a model at training what it will meet at sampling: each
sample draws a set of known frames.  They stand at t = 0, leave the loss, and
are all that its prior may be built from.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from framebridge_jax import arrays
from framebridge_jax.arrays import FrameMask, FrameTime, SampleKeys

Draw = Callable[[SampleKeys, int], Float[Array, 'b n']]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Uniform:
  """Even over [0, 1)."""

  def __call__(self, keys: SampleKeys, count: int) -> Float[Array, 'b n']:
    """`count` numbers a sample."""
    return jax.vmap(lambda key: jax.random.uniform(key, (count,), jnp.float32))(
      keys
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stratified:
  """Even over [0, 1), one number in each of b strata (Kingma et al. 2021).

  The batch shares its offsets, so a sample's number depends on its place in
  the batch.
  """

  def __call__(self, keys: SampleKeys, count: int) -> Float[Array, 'b n']:
    """`count` numbers a sample; each column is stratified over the batch."""
    offset = jax.random.uniform(keys[0], (1, count), jnp.float32)
    place = jnp.arange(len(keys), dtype=jnp.float32)[:, None] / len(keys)
    return (offset + place) % 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogitNormal:
  """Logistic of a Gaussian: the middle of the way (Esser et al. 2024)."""

  mean: float = 0.0
  std: float = 1.0

  def __post_init__(self):
    if not self.std > 0:
      raise ValueError(f'std is {self.std:g}, want above 0')

  def __call__(self, keys: SampleKeys, count: int) -> Float[Array, 'b n']:
    """`count` numbers a sample."""
    unit = jax.vmap(lambda key: jax.random.normal(key, (count,), jnp.float32))
    return jax.nn.sigmoid(self.mean + self.std * unit(keys))


def coin_per_sample(keys: SampleKeys, p: float) -> Bool[Array, 'b 1']:
  """True with probability p, sample by sample (FVDM 2.3)."""
  return jax.vmap(lambda key: jax.random.bernoulli(key, p, (1,)))(keys)


def coin_per_batch(keys: SampleKeys, p: float) -> Bool[Array, 'b 1']:
  """One coin for the whole batch, as FVDM's public code draws it."""
  return jnp.broadcast_to(jax.random.bernoulli(keys[0], p), (len(keys), 1))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ptss:
  """Probabilistic timestep sampling (FVDM 2.3).

  Attributes:
    draw: of numbers in [0, 1] that become times in [t_min, T].
    coin: whether a sample or a batch decides on own times.
    p_frames: probability that every frame draws its own time.
    p_end: probability that a sample stands at exactly T, where a bridge's
      sampler begins and no draw ever lands.
    t_min: least time.
    known_time: most that known frames stand at, as a share of T; half of the
      samples have them at exactly 0.
  """

  draw: Draw = Uniform()
  coin: Callable[[SampleKeys, float], Array] = coin_per_sample
  p_frames: float = 0.2
  p_end: float = 0.0
  t_min: float = 1e-3
  known_time: float = 0.0

  def of_known(self, keys: SampleKeys, T: float) -> Float[Array, 'b 1']:
    """One time for all known frames of a clip."""
    return jnp.maximum(2 * Uniform()(keys, 1) - 1, 0.0) * self.known_time * T

  def __call__(self, keys: SampleKeys, frames: int, T: float) -> FrameTime:
    """Times [b, f] of clips of `frames` frames."""
    coins, own, shared, ends = (arrays.fold(keys, i) for i in range(4))
    u = jnp.where(
      self.coin(coins, self.p_frames),
      self.draw(own, frames),
      jnp.repeat(self.draw(shared, 1), frames, axis=1),
    )
    t = self.t_min + u * (T - self.t_min)
    return jnp.where(coin_per_sample(ends, self.p_end), T, t)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Constant:
  """The same noise for all clips."""

  std: float = 0.1

  def __call__(self, keys: SampleKeys) -> Float[Array, 'b']:
    """A standard deviation a sample."""
    return jnp.full(len(keys), self.std, jnp.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogNormal:
  """FrameBridge's: `std = exp(N(mean, spread^2))`, of pixels in [-1, 1]."""

  mean: float = -3.0
  spread: float = 0.5

  def __call__(self, keys: SampleKeys) -> Float[Array, 'b']:
    """A standard deviation a sample."""
    unit = jax.vmap(lambda key: jax.random.normal(key, (), jnp.float32))(keys)
    return jnp.exp(self.mean + self.spread * unit)


def draw_known(
  keys: SampleKeys, frames: int, *, task_mix: tuple[tuple[str, float], ...]
) -> FrameMask:
  """Draws each sample's known frames [b, f].

  `task_mix` pairs names of KNOWN_SETS with weights, which need not sum to 1.
  At least one frame stays unknown.
  """
  names, weights = zip(*task_mix, strict=True)
  log_weights = jnp.log(jnp.array(weights, jnp.float32))
  sets = [KNOWN_SETS[name] for name in names]

  def one(key):
    which, draw = jax.random.split(key)
    index = jax.random.categorical(which, log_weights)
    return jax.lax.switch(
      index, [lambda k, fn=fn: fn(k, frames) for fn in sets], draw
    )

  return jax.vmap(one)(keys)


def _none(key, frames):
  del key
  return jnp.zeros(frames, bool)


def _first(key, frames):
  del key
  return jnp.arange(frames) == 0


def _first_and_last(key, frames):
  del key
  position = jnp.arange(frames)
  return (position == 0) | (position == frames - 1)


def _first_m(key, frames):
  m = jax.random.randint(key, (), 1, frames)
  return jnp.arange(frames) < m


def _last_m(key, frames):
  return _first_m(key, frames)[::-1]


def _random(key, frames):
  """Any number of frames, from 1 to all but one, anywhere."""
  count, order = jax.random.split(key)
  m = jax.random.randint(count, (), 1, frames)
  return jax.random.permutation(order, frames) < m


DRAWS = {
  'uniform': Uniform,
  'stratified': Stratified,
  'logit_normal': LogitNormal,
}
NOISES = {'constant': Constant, 'lognormal': LogNormal}
COINS = {'sample': coin_per_sample, 'batch': coin_per_batch}
# Whether a set ever draws these known frames of so many.
MEETS: dict[str, Callable[[tuple[int, ...], int], bool]] = {
  'none': lambda known, frames: not known,
  'first': lambda known, frames: known == (0,),
  'first_and_last': lambda known, frames: known == (0, frames - 1),
  'first_m': lambda known, frames: (
    0 < len(known) < frames and known == tuple(range(len(known)))
  ),
  'last_m': lambda known, frames: (
    0 < len(known) < frames
    and known == tuple(range(frames - len(known), frames))
  ),
  'random': lambda known, frames: 0 < len(known) < frames,
}
KNOWN_SETS = {
  'none': _none,
  'first': _first,
  'first_and_last': _first_and_last,
  'first_m': _first_m,
  'last_m': _last_m,
  'random': _random,
}
