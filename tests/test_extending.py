"""The examples of docs/extending.md run, and do what the page says.

They add rows to the real tables, which are put back afterwards.
"""

import contextlib
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

import oracles
import pages
from framebridge_jax import build
from framebridge_jax.processes import bridge, predictions, priors
from framebridge_jax.processes import table as processes
from framebridge_jax.samplers import loop
from framebridge_jax.samplers import table as samplers
from framebridge_jax.tasks import plans

PAGE = pathlib.Path('docs/extending.md')
TABLES = (
  processes.SCHEDULES,
  predictions.PREDICTIONS,
  samplers.SAMPLERS,
  priors.PRIORS,
  plans.TASKS,
)
BLOCKS = re.findall(
  r'^```python\n(.*?)^```', pages.said_in(PAGE), re.MULTILINE | re.DOTALL
)


@pytest.fixture(scope='module')
def page():
  """Names that the blocks leave, with their rows in the tables."""
  names = {'__name__': 'extending'}
  with _put_back(TABLES):
    for i, block in enumerate(BLOCKS):
      exec(compile(block, f'{PAGE} block {i}', 'exec'), names)
    yield names


@contextlib.contextmanager
def _put_back(tables):
  before = [dict(table) for table in tables]
  try:
    yield
  finally:
    for table, rows in zip(tables, before, strict=True):
      table.clear()
      table.update(rows)


def test_rows_are_taken_out_of_the_tables_again():
  table = {'a': 1}
  with contextlib.suppress(KeyError), _put_back([table]):
    table.update(a=2, b=3)
    raise KeyError
  assert table == {'a': 1}


def test_each_kind_of_thing_has_one_row(page):
  added = ('ou', 'score', 'midpoint', 'average', 'around')
  for name, table in zip(added, TABLES, strict=True):
    assert list(table)[-1] == name


def test_an_example_is_about_twenty_lines_long():
  longest = max(
    len([line for line in block.splitlines() if line.strip()])
    for block in BLOCKS[1:-1]
  )
  assert longest <= 22


def test_the_schedule_is_the_ornstein_uhlenbeck_process(page):
  """Its stationary covariance, and Gaussian conditioning in numpy."""
  del page
  schedule = build.make_row('ou:rate=3.0', processes.SCHEDULES)
  t = np.array([0.0, 0.2, 0.7, 1.0])
  with jax.enable_x64(True):
    got = bridge.Bridge(schedule=schedule).marginal(jnp.asarray(t)[None])
    back = schedule.inverse_snr(schedule.snr(jnp.asarray(t[1:])[None]))
  # x has covariance exp(-3 |s - t|); z_t given x_0 and x_1 = (z0, zT).
  ends = np.array([0.0, 1.0])
  to_ends = np.exp(-3 * np.abs(t[:, None] - ends))
  gain = to_ends @ np.linalg.inv(np.exp(-3 * np.abs(ends[:, None] - ends)))
  left = np.sqrt(np.maximum(1 - np.sum(gain * to_ends, axis=1), 0))
  np.testing.assert_allclose(got.a[0], gain[:, 0], atol=1e-9)
  np.testing.assert_allclose(got.b[0], gain[:, 1], atol=1e-9)
  np.testing.assert_allclose(got.c[0], left, atol=1e-7)
  np.testing.assert_allclose(back[0], t[1:], rtol=1e-9)


def test_the_prediction_gives_the_clean_latent_back(page):
  """From the derivative of the Gaussian's log density, in numpy."""
  x, eps = np.random.default_rng(0).normal(size=(2, 1, 2))
  alpha, sigma = np.array([[1.0, 0.6]]), np.array([[0.3, 0.8]])
  z = alpha * x + sigma * eps
  skip, out, _ = page['score'](jnp.asarray(alpha), jnp.asarray(sigma))
  score = -(z - alpha * x) / sigma**2
  np.testing.assert_allclose(skip * z + out * score, x, rtol=1e-5)


def test_the_prediction_is_silent_without_signal_and_deaf_without_noise(page):
  alpha, sigma = jnp.array([[0.0, 0.8]]), jnp.array([[1.0, 0.0]])
  skip, out, _ = page['score'](alpha, sigma)
  np.testing.assert_allclose(skip, [[0, 1.25]])
  np.testing.assert_array_equal(out, [[0, 0]])


MEAN = np.array([0.5, -1.0, 0.3])
COV = np.array([[1.0, 0.6, 0.2], [0.6, 0.8, 0.3], [0.2, 0.3, 0.5]])


def _end_of(sampler, count):
  """Moments at t = 0.1 from exact ones at 0.8, over a bridge, `count` steps."""
  process = bridge.Bridge(schedule=processes.SCHEDULES['ou']())
  times = jnp.linspace(0.8, 0.1, count + 1)[:, None, None]
  times = jnp.broadcast_to(times, (count + 1, 1, 3))
  prior = jnp.asarray([2.0, 0.0, -1.0]).reshape(1, 3, 1, 1, 1)
  denoise = oracles.gaussian_denoiser(process, MEAN, COV, prior)

  def walk(zt):
    return loop.run(
      sampler,
      process,
      denoise,
      zt.reshape(prior.shape),
      times,
      prior=prior,
      noise=lambda k: jnp.zeros_like(prior),
    ).ravel()

  a, b, c = (np.asarray(x)[0] for x in process.marginal(times[0]))
  start = a * MEAN + b * np.asarray(prior).ravel()
  root = np.linalg.cholesky(np.outer(a, a) * COV + np.diag(c**2))
  points = jnp.asarray(np.concatenate([start[None], start + root.T]))
  mean, *moved = np.asarray(tiny.quick_jit(jax.vmap(walk))(points))
  spread = (moved - mean).T
  return mean, spread @ spread.T


def _error_of(sampler, count):
  process = bridge.Bridge(schedule=processes.SCHEDULES['ou']())
  a, b, c = (np.asarray(x)[0] for x in process.marginal(jnp.full((1, 3), 0.1)))
  prior = np.array([2.0, 0.0, -1.0])
  mean, cov = _end_of(sampler, count)
  return max(
    np.abs(mean - a * MEAN - b * prior).max(),
    np.abs(cov - np.outer(a, a) * COV - np.diag(c**2)).max(),
  )


def test_the_sampler_converges_with_its_declared_order(page):
  """Moments of Gaussian videos in the new schedule's bridge."""
  sampler = page['Midpoint']()
  with jax.enable_x64(True):
    coarse, fine = (_error_of(sampler, count) for count in (16, 32))
  assert fine < 1e-2
  np.testing.assert_allclose(np.log2(coarse / fine), sampler.order, atol=0.25)


def test_the_prior_reads_known_frames_alone(page):
  z0 = np.full((1, 4, 1, 1, 1), np.nan)
  z0[0, 1], z0[0, 3] = 1.0, 4.0
  known = jnp.array([[False, True, False, True]])
  got = page['average'](jnp.asarray(z0), known, jnp.zeros(z0.shape))
  np.testing.assert_allclose(got.ravel(), [2.5, 1.0, 2.5, 4.0])


def test_the_task_knows_the_frames_in_the_middle(page):
  plan = page['around'](4, 5, width=2)
  np.testing.assert_array_equal(np.all(plan == 1, axis=0), [0, 1, 1, 0, 0])
  np.testing.assert_allclose(plan[:, 0], [0, 0.25, 0.5, 0.75, 1])


def test_all_together_make_the_frames_around_the_known_ones(page):
  made, clip = (np.asarray(page[name]) for name in ('made', 'clip'))
  np.testing.assert_array_equal(made[:, 1:3], clip[:, 1:3])
  assert np.isfinite(made).all()
  assert (made[:, [0, 3, 4]] != clip[:, [0, 3, 4]]).all()
