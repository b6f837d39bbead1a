"""Nothing is NaN or infinite, at any mixture of frame times.

Times are drawn by hypothesis, from the ends, from their neighbourhood and from
between; gradients are those of training, of a sum over all frames, where a NaN
of one frame would reach every other.  Where signal and noise are all that is
left, `f`, `g2`, `log_alpha` and `snr` may be infinite, and nothing else.
"""

import functools

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from hypothesis import strategies
from hypothesis.extra import numpy

import oracles
from framebridge_jax.processes import bridge, diffusion, predictions, sde

FRAMES = 8
# Their paths in bfloat16 are those of another row.
ALIKE = ('bridge_gconst', 'flow', 'table_scaled_linear')
every = pytest.mark.parametrize(
  ('name', 'dtype'),
  [(name, 'float32') for name in oracles.CLOSED]
  + [(name, 'bfloat16') for name in oracles.CLOSED if name not in ALIKE],
)
# A failure is not made smaller, which would take minutes.
quick = hypothesis.settings(
  derandomize=True,
  database=None,
  deadline=None,
  max_examples=3,
  phases=[hypothesis.Phase.generate],
)
SHARES = strategies.one_of(
  strategies.sampled_from(
    [0.0, 1e-30, 1e-20, 1e-12, 1e-6, 0.001, 0.999, 1 - 1e-6, 1 - 2**-24, 1.0]
  ),
  strategies.floats(0, 1, width=32, allow_subnormal=False),
)
# Many rows a draw: what is compiled or run step by step runs seldom.
TIMES = numpy.arrays(
  float, (2, 20, FRAMES), elements=SHARES, fill=strategies.nothing()
)
# Rows of one kind throughout; with every raw answer, as `raw` goes in a cycle.
WHOLE = np.array(
  [
    [[0.0, 1.0] * (FRAMES // 2), [0.0] * FRAMES, [1 - 2**-24] * FRAMES],
    [[0.0, 1.0] * (FRAMES // 2), [1.0, 1e-30] * (FRAMES // 2), [1.0] * FRAMES],
  ]
)


def _processes(name):
  schedule = oracles.CLOSED[name].schedule
  yield diffusion.Diffusion(schedule=schedule)
  if name in oracles.BRIDGES:
    yield bridge.Bridge(schedule=schedule)


def _values(name, s, t, raw):
  """All that training and sampling read, for s <= t, and every x0_hat."""
  schedule = oracles.CLOSED[name].schedule
  alpha, sigma = schedule.alpha(t), schedule.sigma(t)
  values = [*schedule.pinned(s, t), schedule.sigma2(t), alpha, sigma]
  latents = [alpha + sigma * raw]
  for process in _processes(name):
    a, b, c = process.marginal(t)
    values += [a, b, c]
    latents.append(a + b * raw - c)
  for prediction in set(predictions.PREDICTIONS.values()):
    skip, out, scale = prediction(alpha, sigma)
    values += [skip * z + out * raw for z in latents] + [scale]
  return jnp.stack(values)


def _compiled(fn, dtype):
  """Float32 as in training; in bfloat16 every single operation rounds."""
  return tiny.quick_jit(fn) if dtype == 'float32' else fn


def _times(schedule, shares, dtype):
  """Pairs s <= t <= T; the dtype's T may round above the schedule's."""
  t = jnp.asarray(shares * schedule.T, dtype)
  t = jnp.minimum(t, jnp.asarray(schedule.T, dtype))
  return t.min(axis=0), t.max(axis=0)


@every
def test_values_and_gradients_are_finite_at_every_mixture_of_times(name, dtype):
  """Gradients to s, t and raw, of the sum of every value."""

  def both(s, t, raw):
    out, pull = jax.vjp(functools.partial(_values, name), s, t, raw)
    return out, pull(jnp.ones_like(out))

  check, schedule = _compiled(both, dtype), oracles.CLOSED[name].schedule

  @quick
  @hypothesis.given(TIMES)
  def holds(shares):
    shares = np.concatenate([shares, WHOLE.repeat(3, axis=1)], axis=1)
    s, t = _times(schedule, shares, dtype)
    raw = jnp.asarray(np.resize([0.0, 1.0, -3.0], t.shape), dtype)
    values, grads = check(s, t, raw)
    assert values.dtype == dtype
    for x in (values, *grads):
      assert np.isfinite(x.astype(jnp.float32)).all()

  holds()


@every
def test_only_the_singular_numbers_are_infinite_and_only_at_the_ends(
  name, dtype
):
  """snr at t = 0; f, g2, log_alpha at T where no signal is left.

  Score and h read 0 at their singular ends, where c = 0 and at T.
  """
  schedule = oracles.CLOSED[name].schedule
  t = jnp.asarray([[0.0, 0.001, 0.3, 0.99, 1.0]], dtype) * schedule.T
  z = jnp.ones((1, 5, 1, 1, 1), dtype)

  def values(t):
    yield from (schedule.snr(t), schedule.sigma2(t))
    yield from (schedule.f(t), schedule.g2(t), schedule.log_alpha(t))
    for process in _processes(name):
      args = process, z, t, 0 * z, -z
      pulls = sde.score(*args), process.h(z, t, -z), sde.flow(*args)
      yield from (x[..., 0, 0, 0] for x in pulls)

  check = _compiled(lambda t: jnp.isfinite(jnp.stack([*values(t)])), dtype)
  finite = np.asarray(check(t))
  snr, sigma2, *singular = finite[:5, 0]
  np.testing.assert_array_equal(snr, [False] + [True] * 4)
  assert sigma2.all()
  for rate in singular:
    np.testing.assert_array_equal(rate, [True] * 4 + [not schedule.fades_out])
  scores, pulls, flows = (finite[5 + i :: 3] for i in range(3))
  assert scores.all()
  assert pulls.all()
  assert flows[..., 1:4].all()
