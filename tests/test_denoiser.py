"""From a network's output to x0_hat, and what the network is told."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

import noised
import toys
from framebridge_jax import denoiser
from framebridge_jax.processes import (
  clocks,
  discrete,
  predictions,
  saf,
  sde,
  views,
)

every_view = pytest.mark.parametrize('view', views.VIEWS)
every_prediction = pytest.mark.parametrize(
  'prediction', predictions.PREDICTIONS
)


class Nan(nn.Module):
  """A network that is broken everywhere."""

  @nn.compact
  def __call__(self, z, t, cond):
    return jnp.full_like(z, jnp.nan)


class Shown(nn.Module):
  """Answers with something that it is shown: z, t or cond."""

  what: str

  @nn.compact
  def __call__(self, z, t, cond):
    times = jnp.broadcast_to(t[:, :, None, None, None], z.shape)
    return {'z': z, 't': times, 'cond': cond}[self.what]


class Half(nn.Module):
  """Rounds to bfloat16 inside, as a network in half precision."""

  @nn.compact
  def __call__(self, z, t, cond):
    return z.astype(jnp.bfloat16)


@every_view
@every_prediction
def test_known_frames_come_back_to_the_bit_from_a_broken_network(
  view, prediction
):
  model = noised.make_denoiser(Nan(), view, prediction)
  t = noised.times().at[:, 1].set(0.0)
  zt = noised.draw(0)
  out = model({}, zt, t, toys.given(noised.draw(1))).x0
  np.testing.assert_array_equal(out[:, 1], zt[:, 1])
  assert np.isnan(out[:, [0, 2, 3]]).all()


def test_a_network_that_says_nothing_answers_with_the_prior():
  model = noised.make_denoiser(toys.Constant(), 'residual', 'x0')
  prior = noised.draw(1)
  variables = {'params': {'raw': jnp.zeros(noised.SHAPE)}}
  t = noised.times().at[0, 0].set(1.0)
  out = model(variables, noised.draw(0), t, toys.given(prior)).x0
  np.testing.assert_array_equal(out, prior)


@pytest.mark.parametrize('name', ['vp', 'edm', 'flow', 'table'])
@every_prediction
def test_a_network_that_says_its_target_answers_with_z0(name, prediction):
  """FrameBridge Eq. 6 for psi, of a diffusion and of a bridge."""
  z0, eps, prior = noised.draw(0), noised.draw(2), noised.draw(1)
  process = noised.DIFFUSIONS[name]
  t = noised.times(process.schedule.T) * 0.6
  alpha, sigma = (
    noised.line_up(fn(t))
    for fn in (process.schedule.alpha, process.schedule.sigma)
  )
  zt = jnp.asarray(alpha * z0 + sigma * eps, jnp.float32)
  raw = noised.TARGETS[prediction](
    np.asarray(z0), np.asarray(eps), alpha, sigma
  )
  variables = {'params': {'raw': jnp.asarray(raw, jnp.float32)}}
  model = noised.make_denoiser(toys.Constant(), 'plain', prediction, process)
  out = model(variables, zt, t, toys.given(prior)).x0
  size = 1 + (sigma / alpha).max()  # eps at high noise is worth little
  np.testing.assert_allclose(out, z0, atol=2e-6 * size)


def test_a_network_that_says_psi_of_a_bridge_answers_with_z0():
  z0, prior, t = noised.draw(0), noised.draw(1), 0.4 * noised.times()
  zt = sde.perturb(noised.BRIDGE, z0, prior, t, noised.draw(2))
  time = np.asarray(t, np.float64)
  sigma = np.sqrt(0.01 * time + 49.99 * time**2 / 2)
  psi = (zt - z0) / noised.line_up(sigma)
  model = noised.make_denoiser(toys.Constant(), 'plain', 'psi')
  variables = {'params': {'raw': jnp.asarray(psi, jnp.float32)}}
  out = model(variables, zt, t, toys.given(prior)).x0
  np.testing.assert_allclose(out, z0, atol=5e-5)


def test_a_network_that_says_the_motion_answers_with_z0():
  z0, prior = noised.draw(0), noised.draw(1)
  model = noised.make_denoiser(toys.Constant(), 'residual', 'x0')
  variables = {'params': {'raw': z0 - prior}}
  out = model(variables, noised.draw(2), noised.times(), toys.given(prior)).x0
  np.testing.assert_allclose(out, z0, atol=1e-6)


@every_view
def test_the_network_is_fed_the_view_and_the_clock_s_time(view):
  zt, prior, t = noised.draw(0), noised.draw(1), noised.times()
  given = toys.given(prior, cond=noised.draw(3), noise=noised.draw(4))
  seen = views.VIEWS[view](noised.BRIDGE, zt, t, prior, given.noise)
  for what, want in {
    'z': seen.z,
    't': np.broadcast_to(250.0 * t[:, :, None, None, None], noised.SHAPE),
    'cond': given.cond,
  }.items():
    model = noised.make_denoiser(
      Shown(what), view, 'x0', clock=clocks.Continuous(scale=250.0)
    )
    out = model({}, zt, t, given).x0
    np.testing.assert_allclose(out, seen.origin + want, rtol=1e-6, atol=1e-6)


def test_the_clock_reads_the_view_s_time_and_not_the_process_s():
  """A table's network is fed N t~ - 1, of the time that the teacher knows."""
  teacher = noised.make_denoiser(
    Shown('t'),
    process=noised.DIFFUSIONS['table'],
    clock=clocks.Table(entries=1000),
  )
  model = denoiser.align(teacher, noised.BRIDGE)
  t, zt = noised.times(), noised.draw(0)
  out = model({}, zt, t, toys.given(noised.draw(1), noise=noised.draw(2))).x0
  bars = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
  time = np.asarray(t, np.float64)
  snr = 1 / (0.01 * time + 49.99 * time**2 / 2) - 1 / 25.005
  index = np.interp(-snr, -bars / (1 - bars), np.arange(1000))
  assert np.abs(index - (1000 * time - 1)).min() > 20
  np.testing.assert_allclose(
    out, np.broadcast_to(noised.line_up(index), noised.SHAPE), 1e-4
  )


def test_edm_s_network_is_fed_the_latent_at_unit_variance():
  """c_in = 1 / sqrt(sigma^2 + 0.5^2) (Karras et al. 2022, Table 1)."""
  t = noised.times(80.0)
  zt = noised.draw(0)
  model = noised.make_denoiser(
    Shown('z'), 'plain', 'edm', noised.DIFFUSIONS['edm']
  )
  out = model({}, zt, t, toys.given(noised.draw(1))).x0
  sigma = noised.line_up(t)
  c_in = 1 / np.sqrt(sigma**2 + 0.25)
  want = 0.25 * c_in**2 * zt + 0.5 * sigma * c_in * (c_in * zt)
  np.testing.assert_allclose(out, want, rtol=1e-5, atol=1e-7)


def test_twice_the_channels_are_a_prediction_and_a_variance():
  """Latte's second half, in [-1, 1], is a spread in [0, 1]."""
  shape = (*noised.SHAPE[:-1], 2 * noised.SHAPE[-1])
  raw = noised.draw(3, shape)
  first, second = np.split(np.asarray(raw), 2, axis=-1)
  second = np.clip(second, -1, 1)
  raw = jnp.asarray(np.concatenate([first, second], -1))

  class Pair(nn.Module):
    @nn.compact
    def __call__(self, z, t, cond):
      return raw

  answer = noised.make_denoiser(Pair())(
    {}, noised.draw(0), noised.times(), toys.given(noised.draw(1))
  )
  np.testing.assert_array_equal(answer.x0, first)
  np.testing.assert_allclose(answer.spread, (second + 1) / 2, atol=1e-6)
  assert answer.spread.min() >= 0
  assert answer.spread.max() <= 1
  assert np.ptp(answer.spread) > 0.9


def test_a_network_without_a_variance_has_no_spread():
  answer = noised.make_denoiser(toys.Bent()).bind(
    toys.BENT, toys.given(noised.draw(1))
  )(noised.draw(0), noised.times())
  assert answer.spread is None


def test_the_answer_is_in_the_latents_precision_whatever_the_network_s():
  zt = noised.draw(0)
  answer = noised.make_denoiser(Half())(
    {}, zt, noised.times(), toys.given(noised.draw(1))
  )
  assert answer.x0.dtype == zt.dtype
  np.testing.assert_allclose(answer.x0, zt, rtol=2**-8)


def test_align_wraps_any_denoiser_in_one_call_and_keeps_what_is_its_own():
  teacher = noised.make_denoiser(
    toys.Bent(), 'plain', 'v', noised.DIFFUSIONS['table'], clock=clocks.Table()
  )
  lookup = saf.AmplitudeLinear(reach=2.0)
  model = denoiser.align(teacher, noised.BRIDGE, lookup)
  assert model.network is teacher.network
  assert model.prediction is teacher.prediction
  assert model.clock == clocks.Table()
  assert model.process == noised.BRIDGE
  assert model.view == saf.Aligned(
    teacher=discrete.Discrete(), lookup=saf.AmplitudeLinear(reach=2.0)
  )
  assert hash(model) == hash(denoiser.align(teacher, noised.BRIDGE, lookup))
  assert model != denoiser.align(teacher, noised.BRIDGE)


def test_the_bound_denoiser_is_the_denoiser():
  model = noised.make_denoiser(toys.Bent(), 'residual')
  variables, given = (
    toys.BENT,
    toys.given(noised.draw(1)),
  )
  bound = model.bind(variables, given)
  np.testing.assert_array_equal(
    bound(noised.draw(0), noised.times()).x0,
    model(variables, noised.draw(0), noised.times(), given).x0,
  )


def test_denoisers_of_equal_parts_are_equal():
  """What makes a denoiser a static argument that compiles once."""
  one, two = (tiny.make_denoiser(tiny.make_latte()) for _ in range(2))
  assert one == two
  assert hash(one) == hash(two)
  assert one != tiny.make_denoiser(tiny.make_latte(stem=4))
