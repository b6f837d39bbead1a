"""Teachers of aligned bridges, and the bridges' latents, in closed forms."""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

import oracles
import toys
from framebridge_jax import denoiser
from framebridge_jax.processes import bridge, diffusion, schedules

BRIDGES = {
  name: bridge.Bridge(schedule=oracles.CLOSED[name].schedule)
  for name in ('bridge_gmax', 'vp')
}
SHAPE = (2, 4, 2, 2, 1)


class Teacher(NamedTuple):
  """A schedule with its closed forms, and what the network is to say."""

  closed: oracles.Closed
  prediction: str

  @property
  def schedule(self) -> schedules.Schedule:
    """That of the package."""
    return self.closed.schedule

  def alpha(self, t):
    """In numpy."""
    return self.closed.alpha(np.asarray(t, float))

  def sigma(self, t):
    """In numpy."""
    return np.sqrt(self.closed.sigma2(np.asarray(t, float)))

  def make(self, network: nn.Module, prediction: str | None = None):
    """A denoiser whose network hears the schedule's own time."""
    return toys.make_denoiser(
      network,
      diffusion.Diffusion(schedule=self.schedule),
      prediction or self.prediction,
      clock=lambda t: t,
    )


def edm(prediction: str, end: float) -> Teacher:
  """Of noise up to `end`."""
  closed = oracles.CLOSED['edm']._replace(schedule=schedules.EDM(T=end))
  return Teacher(closed, prediction)


def _teacher(name, prediction):
  return Teacher(oracles.CLOSED[name], prediction)


CONTINUOUS = {
  'vp/eps': _teacher('vp', 'eps'),
  'vp/v': _teacher('vp', 'v'),
  'edm/edm': edm('edm', 1e4),
  'edm/eps': edm('eps', 1e4),
  'flow/flow': _teacher('flow', 'flow'),
  'flow/v': _teacher('flow', 'v'),
  'flow3/flow': _teacher('flow_shift_3', 'flow'),
}
TABLES = {
  'linear/eps': _teacher('table_linear', 'eps'),
  'linear/v': _teacher('table_linear', 'v'),
  'scaled_linear/eps': _teacher('table_scaled_linear', 'eps'),
  'cogvideox_2b/v': _teacher('table_cogvideox_2b', 'v'),
}
TEACHERS = {**CONTINUOUS, **TABLES}
pairs = pytest.mark.parametrize(
  ('name', 'bridge_name'),
  [(name, 'bridge_gmax') for name in TEACHERS]
  + [(name, 'vp') for name in ('vp/v', 'edm/edm', 'linear/eps')],
)


class Answers(nn.Module):
  """A function of what it is shown and of its time."""

  says: Callable

  @nn.compact
  def __call__(self, z, t, cond):
    return self.says(z, t)


def bend(z, t):
  """Bent in z, and hears every bit of t."""
  return jnp.sin(2 * z) + line_up(jnp.cos(3 * t).astype(z.dtype))


def line_up(x):
  """Numbers [b, f] beside clips."""
  return x[:, :, None, None, None]


def draw(count: int, shape=SHAPE):
  """Unit noise, some times."""
  rng = np.random.default_rng(0)
  return (jnp.asarray(rng.normal(size=shape)) for _ in range(count))


def marginal(bridge_name: str, t):
  """FrameBridge Eq. 12 from closed forms in numpy; clean at 0."""
  t = np.asarray(t, float)
  with np.errstate(divide='ignore'):
    return oracles.CLOSED[bridge_name].marginal(t, np.ones_like(t))


def bridge_latents(bridge_name: str, t):
  """zt of Eq. 12, and what it is made of."""
  z0, eps, prior = draw(3, (*np.shape(t), *SHAPE[2:]))
  a, b, c = (line_up(x) for x in marginal(bridge_name, t))
  return a * z0 + b * prior + c * eps, z0, eps, prior


def time_of(bridge_name: str, snr):
  """Where a^2 / c^2 of a bridge has these values, one by one."""

  def find(snr):
    def excess(t):
      a, _, c = marginal(bridge_name, t)
      return 2 * np.log(a / c) - np.log(snr)

    return optimize.brentq(excess, 1e-9, 1 - 1e-9, xtol=1e-15, rtol=1e-14)

  return np.vectorize(find)(snr)


def align(teacher: Teacher, network, bridge_name: str, *rest):
  """The teacher's denoiser on a bridge."""
  return denoiser.align(teacher.make(network), BRIDGES[bridge_name], *rest)
