"""Times and known frames drawn for training.

PTSS (FVDM 2.3): with probability `p_frames` every frame of a sample draws its
own time, otherwise one time serves the whole clip.

`task_mix` shows a model at training what it will meet at sampling: each
sample draws a set of known frames.  They stand at t = 0, leave the loss, and
are all that its prior may be built from.
"""

import jax
import jax.numpy as jnp

from framebridge_jax.arrays import FrameMask, FrameTime, SampleKeys


def ptss(
  keys: SampleKeys,
  frames: int,
  *,
  T: float,
  t_min: float,
  p_frames: float,
  p_end: float,
) -> FrameTime:
  """Draws times [b, f] in [t_min, T], one coin a sample (FVDM 2.3).

  With probability `p_end` a whole sample stands at exactly T, where a
  bridge's sampler begins and a uniform draw never lands.
  """

  def one(key):
    coin, own, shared, end = jax.random.split(key, 4)
    u = jnp.where(
      jax.random.bernoulli(coin, p_frames),
      jax.random.uniform(own, (frames,), jnp.float32),
      jnp.full((frames,), jax.random.uniform(shared, (), jnp.float32)),
    )
    t = t_min + u * (T - t_min)
    return jnp.where(jax.random.bernoulli(end, p_end), jnp.full_like(t, T), t)

  return jax.vmap(one)(keys)


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


KNOWN_SETS = {
  'first': _first,
  'first_and_last': _first_and_last,
  'first_m': _first_m,
  'last_m': _last_m,
  'random': _random,
}
