"""Whole runs of samplers on oracles, and the moments that must come out.

With the exact denoiser of a Gaussian a sampler's output is affine in its
noise, so that its mean and covariance come from a Jacobian, without a single
random draw.  Many plans run at once, one an example of the batch.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import oracles
from framebridge_jax.processes import bridge, diffusion, sde
from framebridge_jax.samplers import (
  euler_maruyama,
  grids,
  implicit,
  loop,
  table,
)
from framebridge_jax.tasks import plans

FRAMES = 4
MEAN = np.array([0.3, -0.2, 0.5, 0.1])
COV = 0.8 ** np.abs(np.subtract.outer(np.arange(FRAMES), np.arange(FRAMES)))
VALUES = np.array([1.0, -0.5, 0.2, 0.8])  # of frames that are known
PRIOR = np.array([0.7, 0.7, 0.2, -1.0])


class Case(NamedTuple):
  """A process beside the closed forms of its schedule."""

  process: sde.Process
  closed: oracles.Closed

  @property
  def T(self) -> float:
    """Where it begins."""
    return self.closed.schedule.T

  def marginal(self, t):
    """a, b, c in numpy, for t above 0."""
    t = np.asarray(t, float)
    if isinstance(self.process, bridge.Bridge):
      return self.closed.marginal(t, np.full_like(t, self.T))
    a, c = self.closed.alpha(t), np.sqrt(self.closed.sigma2(t))
    return a, np.zeros_like(t), c

  def time_of_clock(self, clock):
    """Time at which log(a / c) is `clock`, from a table."""
    x = np.linspace(-25, 25, 20001)
    t = self.T / (1 + np.exp(-x))
    a, _, c = self.marginal(t)
    with np.errstate(divide='ignore'):
      return np.interp(-np.asarray(clock), np.log(c / a), t)

  def time_of_progress(self, u):
    """T at 0, 0 at 1, between them even in log(a / c) from 1/100 to 100.

    From a little above that of T, where T holds more signal.
    """
    a, _, c = self.marginal(self.T * (1 - 1e-9))
    start, stop = np.log(max(0.01, 1.02 * a / c)), np.log(100)
    t = self.time_of_clock(start + u * (stop - start))
    return np.where(u == 0, self.T, np.where(u == 1, 0.0, t))


CASES = {
  f'diffusion {name}': Case(
    diffusion.Diffusion(schedule=oracles.CLOSED[name].schedule),
    oracles.CLOSED[name],
  )
  for name in (
    'vp',
    'edm',
    've',
    'flow',
    'cosine',
    'table_linear',
    'table_cogvideox_2b',
  )
} | {
  f'bridge {name}': Case(
    bridge.Bridge(schedule=oracles.CLOSED[name].schedule), oracles.CLOSED[name]
  )
  for name in ('bridge_gmax', 'bridge_gconst', 'vp', 've', 'fading')
}


def _distinct():
  """The rows of the table; two names for one sampler are one row."""
  rows = {}
  for name, make in table.SAMPLERS.items():
    if make() not in rows.values():
      rows[name] = make()
  return rows


SAMPLERS = _distinct()
VARIANTS = {
  'ddim:eta=0.5': implicit.Implicit(eta=0.5),
  'euler_maruyama:noise_scale=1.5': euler_maruyama.EulerMaruyama(
    noise_scale=1.5
  ),
}
KNOWN = {
  'all': (),
  'i2v': (0,),
  'interpolate': (0, FRAMES - 1),
  'staggered': (),
}


class Walk(NamedTuple):
  """Per-frame times, where they start, and what must come out.

  The start is `start + spread @ unit noise` [f]; the end has the moments
  `mean` [f] and `cov` [f, f].
  """

  times: np.ndarray
  start: np.ndarray
  spread: np.ndarray
  mean: np.ndarray
  cov: np.ndarray


def whole(
  case: Case, task: str, steps: int, grid: grids.Grid | None = None
) -> Walk:
  """From T to 0, given the frames that the task knows."""
  known = np.isin(np.arange(FRAMES), KNOWN[task])
  mean, cov = oracles.conditional(MEAN, COV, KNOWN[task], VALUES)
  u = (plans.TASKS | {'all': plans.progress})[task](steps, FRAMES)
  start, spread = _at(case, np.full(FRAMES, case.T), mean, cov)
  return Walk(
    times=(grid or case.time_of_progress)(u),
    start=np.where(known, VALUES, start),
    spread=np.where(known[:, None], 0.0, spread),
    mean=mean,
    cov=cov,
  )


def inside(case: Case, steps: int, grading: int = 3) -> Walk:
  """From one marginal to another, both inside (0, T), per frame.

  The first steps are small, as the cube: three-step samplers start so.  With
  a grading of 1 all are even in log(a / c).
  """
  late, early = np.log([0.25, 0.3, 0.4, 0.5]), np.log([4.0, 2.0, 3.0, 2.5])
  u = np.linspace(0, 1, steps + 1)[:, None] ** grading
  times = case.time_of_clock(late + u * (early - late))
  a, b, c = case.marginal(times[-1])
  start, spread = _at(case, times[0], MEAN, COV)
  cov = a[:, None] * COV * a + np.diag(c**2)
  return Walk(times, start, spread, a * MEAN + b * PRIOR, cov)


def moments(
  case: Case, sampler: loop.Sampler, walks: Sequence[Walk]
) -> tuple[np.ndarray, np.ndarray]:
  """Means [n, f] and covariances [n, f, f] at the ends of n walks.

  Shorter ones are padded: their frames rest at the end.
  """
  rows = max(len(walk.times) for walk in walks)
  times = [pad(walk.times, rows) for walk in walks]
  mean, cov = _moments(
    case.process,
    sampler,
    np.stack([walk.start for walk in walks]),
    np.stack([walk.spread for walk in walks]),
    np.stack(times, axis=1),
  )
  return np.asarray(mean), np.asarray(cov)


def _at(case, t, mean, cov):
  """Start and spread of the marginal of per-frame times t > 0."""
  a, b, c = case.marginal(t)
  values, vectors = np.linalg.eigh(cov)
  root = vectors * np.sqrt(np.maximum(values, 0))
  spread = np.concatenate([a[:, None] * root, np.diag(c)], axis=1)
  return a * mean + b * PRIOR, spread


def pad(times: np.ndarray, rows: int) -> np.ndarray:
  """Times [rows, f] that rest at the end."""
  return np.concatenate([times, times[-1:].repeat(rows - len(times), 0)])


@functools.partial(jax.jit, static_argnums=(0, 1))
def _moments(process, sampler, mean, spread, times):
  prior = _pixels(jnp.broadcast_to(jnp.asarray(PRIOR), mean.shape))
  denoise = oracles.gaussian_denoiser(process, MEAN, COV, prior)

  def sample(first, later):
    out = loop.run(
      sampler,
      process,
      denoise,
      _pixels(mean + jnp.einsum('nij,nj->ni', spread, first)),
      times,
      prior=prior,
      noise=lambda k: _pixels(later[k]),
    )
    return out[..., 0, 0, 0]

  silent = (
    jnp.zeros((len(mean), spread.shape[2])),
    jnp.zeros((len(times) - 1, *mean.shape)),
  )
  out, pull = jax.vjp(sample, *silent)
  # Examples do not meet: one cotangent serves them all at once.
  each = jnp.broadcast_to(jnp.eye(FRAMES)[:, None], (FRAMES, *mean.shape))
  first, later = jax.vmap(pull)(each)
  cov = jnp.einsum('inj,mnj->nim', first, first)
  return out, cov + jnp.einsum('iknj,mknj->nim', later, later)


def _pixels(x):
  return x[..., None, None, None]
