"""The view of SNR-aligned fine-tuning: a bridge in a teacher's own terms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

import teachers
import toys
from framebridge_jax.processes import saf

bridges = pytest.mark.parametrize('bridge_name', teachers.BRIDGES)
LOOKUPS = {
  'own': saf.Own(),
  'snr_linear': saf.SnrLinear(),
  'snr_linear, reaching': saf.SnrLinear(reach=50.0),
  'amplitude_linear': saf.AmplitudeLinear(),
  'amplitude_linear, reaching': saf.AmplitudeLinear(reach=50.0),
}
# From beyond the first entry of a table to beyond the last.
ALL_TIMES = np.array(
  [[1e-7, 1e-4, 1e-3, 0.02], [0.4, 0.99, 1 - 1e-4, 1 - 1e-9]]
)


@bridges
@pytest.mark.parametrize(
  ('name', 'lookup'),
  [(name, 'own') for name in ('vp/v', 'edm/edm', 'flow3/flow')]
  + [
    (name, lookup)
    for name in ('linear/v', 'cogvideox_2b/v')
    for lookup in LOOKUPS
  ],
)
def test_the_aligned_view_holds_what_it_says_that_it_holds(
  name, lookup, bridge_name
):
  """z~ = (a/k) z0 + (c/k) eps, whatever time the lookup tells the network."""
  teacher = teachers.TEACHERS[name]
  zt, z0, eps, prior = teachers.bridge_latents(bridge_name, ALL_TIMES)
  aligned = saf.Aligned(teacher=teacher.schedule, lookup=LOOKUPS[lookup])
  process, t = teachers.BRIDGES[bridge_name], jnp.asarray(ALL_TIMES)
  view = aligned(process, zt, t, prior, prior * jnp.nan)
  a, _, c = teachers.marginal(bridge_name, ALL_TIMES)
  # In a / c, because near T both are differences that numpy cancels.
  np.testing.assert_allclose(view.alpha / view.sigma, a / c, rtol=1e-5)
  held = teachers.line_up(view.alpha) * z0 + teachers.line_up(view.sigma) * eps
  np.testing.assert_allclose(view.z, held, rtol=1e-5, atol=1e-5)
  np.testing.assert_array_equal(view.origin, np.zeros(teachers.SHAPE))
  if 'reaching' not in lookup:
    variance = teacher.alpha(view.t) ** 2 + teacher.sigma(view.t) ** 2
    got = view.alpha**2 + view.sigma**2
    np.testing.assert_allclose(got, variance, rtol=1e-9)


def test_a_clamped_time_would_tell_other_coefficients_than_the_latent_holds():
  """Latte's table at T - 1e-4: its own alpha / sigma is off by 2.25."""
  view = _show('linear/eps', np.array([[1 - 1e-4]]))
  teacher = teachers.TEACHERS['linear/eps']
  own = teacher.alpha(view.t) / teacher.sigma(view.t)
  np.testing.assert_allclose(own / (view.alpha / view.sigma), 2.25, rtol=0.01)


def _show(name, t):
  zt, _, _, prior = teachers.bridge_latents('bridge_gmax', t)
  aligned = saf.Aligned(teacher=teachers.TEACHERS[name].schedule)
  process = teachers.BRIDGES['bridge_gmax']
  return aligned(process, zt, jnp.asarray(t), prior, prior)


@teachers.pairs
def test_at_T_a_teacher_sees_its_last_noise_and_nothing_else(name, bridge_name):
  """There a = c = 0, and the limit is pure noise at T~."""
  teacher = teachers.TEACHERS[name]
  prior, noise = teachers.draw(2, (1, 2, 2, 2, 1))
  aligned = saf.Aligned(teacher=teacher.schedule)
  t = jnp.ones((1, 2))
  view = aligned(teachers.BRIDGES[bridge_name], prior, t, prior, noise)
  end = np.full((1, 2), teacher.schedule.T)
  sigma = teacher.sigma(end)
  np.testing.assert_array_equal(view.t, end)
  want = teachers.line_up(sigma) * noise
  np.testing.assert_allclose(view.z, want, rtol=1e-12)
  np.testing.assert_allclose(view.sigma, sigma, rtol=1e-12)
  np.testing.assert_allclose(
    view.alpha, teacher.alpha(end), rtol=1e-9, atol=1e-12
  )


@pytest.mark.parametrize('name', teachers.TEACHERS)
def test_a_clean_frame_is_seen_clean_at_time_zero(name):
  t = np.zeros((1, 2))
  zt, z0, _, _ = teachers.bridge_latents('bridge_gmax', t)
  view = _show(name, t)
  np.testing.assert_allclose(view.z, z0, rtol=1e-12)
  # A table's first entry is the least that its network knows.
  least = 1e-3 if name in teachers.TABLES else 0.0
  np.testing.assert_allclose(view.t, np.full((1, 2), least), atol=1e-12)


def _every_time(dtype):
  """All bfloat16 numbers of [0, 1], or a dense grid with both ends."""
  if dtype == jnp.bfloat16:
    bits = np.arange(0x3F80 + 1, dtype=np.uint16)
    t = jax.lax.bitcast_convert_type(jnp.asarray(bits), jnp.bfloat16)
  else:
    small = np.concatenate([[0.0], np.geomspace(1e-38, 0.5, 2000)])
    near = 1 - 2.0 ** -np.linspace(1, 24, 200)
    t = np.concatenate([small, np.linspace(0, 1, 2001), near])
    t = jnp.asarray(t, dtype)
  return t[None]


@teachers.pairs
def test_no_time_gives_nan_in_values_or_gradients(name, bridge_name):
  """Also where alpha = 0, for a prediction that says something there."""
  _check_finite(name, bridge_name, jnp.float32)


@pytest.mark.parametrize(
  ('name', 'bridge_name'),
  [('vp/v', 'vp')]
  + [
    (name, 'bridge_gmax')
    for name in (
      'vp/v',
      'edm/edm',
      'flow3/flow',
      'linear/eps',
      'cogvideox_2b/v',
    )
  ],
)
def test_no_time_gives_nan_in_bfloat16(name, bridge_name):
  """One of every kind of schedule, and every prediction."""
  _check_finite(name, bridge_name, jnp.bfloat16)


def _check_finite(name, bridge_name, dtype):
  t = _every_time(dtype)
  shape = (*t.shape, 1, 1, 1)
  zt, prior, noise = (x.astype(dtype) for x in teachers.draw(3, shape))
  network = teachers.Answers(teachers.bend)
  model = teachers.align(teachers.TEACHERS[name], network, bridge_name)

  @tiny.quick_jit
  def answer(zt, t, prior):
    def value(zt, t, prior):
      return model({}, zt, t, toys.given(prior, noise=noise)).x0

    x0, pull = jax.vjp(value, zt, t, prior)
    return x0, pull(jnp.ones_like(x0))

  for got in jax.tree.leaves(answer(zt, t, prior)):
    assert got.dtype == dtype
    assert np.isfinite(np.asarray(got, np.float64)).all()
