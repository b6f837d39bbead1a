"""What an error weighs: closed forms, and the ends of time."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

import cases
import oracles
import toy_losses
import toys
from framebridge_jax import denoiser
from framebridge_jax.processes import (
  diffusion,
  discrete,
  fading,
  schedules,
  times,
)
from framebridge_jax.training import losses


def _diffusion(schedule):
  return diffusion.Diffusion(schedule=schedule)


def _model(process):
  return toys.make_denoiser(toy_losses.Oracle(), process)


def test_snr_weight_is_the_floored_and_capped_signal_to_noise():
  """SNR_t - SNR_T of the centred latent, from closed forms."""
  exact = oracles.CLOSED['bridge_gmax']
  t = np.array([[1e-4, 0.01, 0.1, 0.3, 0.9, 0.999]])
  snr = 1 / exact.sigma2(t) - 1 / exact.sigma2(np.ones_like(t))
  want = np.minimum(0.5 + snr, 40.0)
  assert len(np.unique(want)) == 5  # two of them capped
  weight = losses.SnrWeight(floor=0.5, most=40.0)
  got = weight(_model(toy_losses.PROCESS), jnp.asarray(t, 'f4'))
  np.testing.assert_allclose(got, want, rtol=1e-5)


def test_snr_weight_is_the_cap_where_clean_and_the_floor_at_the_end():
  weight = losses.SnrWeight(floor=0.5, most=40.0)
  got = weight(_model(toy_losses.PROCESS), jnp.array([[0.0, 1e-30, 1.0]]))
  np.testing.assert_array_equal(got, [[40.0, 40.0, 0.5]])


def test_snr_weight_of_a_diffusion_ends_with_its_own_snr():
  """Latte's table: alpha^2 / sigma^2, to the last entry's 4e-5."""
  t = np.array([[0.3, 0.6, 1.0]])
  bars = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))[[299, 599, 999]]
  model = _model(_diffusion(discrete.Discrete()))
  got = losses.SnrWeight(floor=1e-6, most=40.0)(model, jnp.asarray(t, 'f4'))
  np.testing.assert_allclose(got, [1e-6 + bars / (1 - bars)], rtol=1e-4)
  flow = losses.SnrWeight()(_model(_diffusion(fading.Flow())), jnp.ones((1, 1)))
  np.testing.assert_array_equal(flow, [[4.0]])


@pytest.mark.parametrize(
  ('name', 'prediction'),
  [
    ('diffusion-vp', 'eps'),
    ('diffusion-table_linear', 'v'),
    ('diffusion-flow', 'flow'),
    ('diffusion-edm', 'edm'),
    ('bridge-bridge_gmax', 'psi'),
  ],
)
def test_own_target_is_the_plain_mse_of_what_the_network_predicts(
  name, prediction
):
  """Of eps, v, u = eps - z0, F and psi (FrameBridge Eq. 6), made by hand.

  The pairs are drawn again from what the loss is given: the clean clip, and a
  latent from which the target follows without the noise's key.
  """
  process, closed = cases.CASES[name]
  seen = []

  class Watched(nn.Module):
    @nn.compact
    def __call__(self, z, t, cond):
      jax.debug.callback(lambda z, t: seen.append((z, t)), z, t)
      return toys.Bent(name='inner')(z, t, cond)

  model = toys.make_denoiser(Watched(), process, prediction)
  loss = toy_losses.make(
    None,
    model,
    weight=losses.OwnTarget(),
    task_mix=(('first', 1.0),),
    times=times.Ptss(p_frames=0.5, t_min=0.05),
  )
  batch = toy_losses.make_batch()
  params = {'params': {'inner': toys.BENT['params']}}
  value, _ = tiny.quick_jit(loss)(params, batch, toy_losses.keys())
  jax.effects_barrier()
  ((z, network_t),) = (
    tuple(np.asarray(x, np.float64) for x in pair) for pair in seen
  )
  raw = np.sin(z + 1e-3 * network_t[..., None, None, None])
  t = network_t / 1000
  z0 = np.asarray(toy_losses.encode(batch['video']), np.float64)
  unknown = t > 0
  alpha, sigma = (
    x[unknown][:, None, None, None]
    for x in (closed.alpha(t), np.sqrt(closed.sigma2(t)))
  )
  z, z0, raw = z[unknown], z0[unknown], raw[unknown]
  if prediction == 'edm':
    z = z * np.sqrt(sigma**2 + 0.25)
  eps = (z - alpha * z0) / sigma
  skip = 0.25 / (sigma**2 + 0.25)
  target = {
    'eps': eps,
    'psi': eps,
    'v': alpha * eps - sigma * z0,
    'flow': eps - z0,
    'edm': (z0 - skip * z) / (0.5 * sigma / np.sqrt(sigma**2 + 0.25)),
  }[prediction]
  assert value == pytest.approx(np.mean((raw - target) ** 2), rel=1e-4)


# Every prediction and process that goes together.
ENDS = {
  'vp/eps': (_diffusion(schedules.VP()), 'eps', None),
  'vp/v': (_diffusion(schedules.VP()), 'v', None),
  'flow/flow': (_diffusion(fading.Flow()), 'flow', None),
  'edm/edm': (_diffusion(schedules.EDM()), 'edm', None),
  'table/v': (_diffusion(discrete.Discrete()), 'v', None),
  'bridge/psi': (toy_losses.PROCESS, 'psi', None),
  'bridge/x0': (toy_losses.PROCESS, 'x0', None),
  'bridge/aligned vp/eps': (toy_losses.PROCESS, 'eps', schedules.VP()),
  'bridge/aligned table/v': (toy_losses.PROCESS, 'v', discrete.Discrete()),
  'bridge/aligned flow/flow': (toy_losses.PROCESS, 'flow', fading.Flow()),
  'bridge/aligned edm/edm': (toy_losses.PROCESS, 'edm', schedules.EDM()),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class At(times.Ptss):
  """Times at given shares of T."""

  share: Any

  def __call__(self, keys, frames, T):
    return self.share * T


MIXED = [[0.0, 1.0, 0.5, 1e-6], [0.0, 0.0, 1.0, 1.0], [1.0, 1.0, 0.3, 0.0]]
WHERE = {
  '0': np.zeros((3, toy_losses.F)),
  'T': np.ones((3, toy_losses.F)),
  'mixed': np.array(MIXED),
}


@pytest.mark.parametrize('weight', losses.LOSS_WEIGHTS)
@pytest.mark.parametrize('name', ENDS)
def test_gradients_are_finite_at_the_ends_of_time(name, weight):
  process, prediction, teacher = ENDS[name]
  model = toys.make_denoiser(toys.Bent(), process, prediction)
  if teacher:
    model = denoiser.align(
      toys.make_denoiser(toys.Bent(), _diffusion(teacher), prediction), process
    )

  @tiny.quick_jit
  def loss_at(t):
    loss = toy_losses.make(
      None,
      model,
      weight=losses.LOSS_WEIGHTS[weight](),
      task_mix=(('first', 1.0),),
      times=At(share=t),
    )
    batch, keys = toy_losses.make_batch(3), toy_losses.keys(3)
    return jax.value_and_grad(lambda p: loss(p, batch, keys)[0])(toys.BENT)

  for where, t in WHERE.items():
    value, grads = loss_at(jnp.asarray(t, jnp.float32))
    assert np.isfinite(value)
    assert (value > 0) == (where != '0')
    assert np.isfinite(grads['params']['weight']).all()
