"""FrameBridge's public alignment: its times, and what it makes of a batch."""

import pathlib

import jax.numpy as jnp
import numpy as np
import pytest
import tiny

import oracles
import teachers
import toys
from framebridge_jax import denoiser
from framebridge_jax.processes import diffusion, discrete, saf, sde

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden/framebridge_schedule.npz'
TEACHERS = {
  'cogvideox': discrete.Discrete(
    table='scaled_linear', snr_shift=3.0, zero_terminal=True
  ),
  'scaled_linear': discrete.Discrete(table='scaled_linear'),
}


@pytest.fixture(scope='module')
def golden():
  with np.load(GOLDEN) as file:
    return dict(file)


@pytest.mark.parametrize('name', TEACHERS)
def test_greatest_reproduces_the_public_times_beyond_the_table_too(
  name, golden
):
  """The bridge's greatest a / c on the public grid stands at its first time."""
  ratio = golden['bridge_coef_x0'] / golden['bridge_sqrt_var']
  want = golden[f'{name}_aligned_t']
  ratio = ratio.astype(np.float64)
  lookup = saf.AmplitudeLinear(greatest=float(ratio.max()))
  time = lookup(TEACHERS[name], jnp.asarray(ratio**2)[None])
  np.testing.assert_allclose(1000 * time[0] - 1, want, rtol=2e-5)


def test_without_it_times_stay_within_the_table():
  snr = jnp.asarray([[1e6, 1e-6]])
  time = saf.AmplitudeLinear()(TEACHERS['scaled_linear'], snr)
  np.testing.assert_allclose(time, [[1e-3, 1.0]], rtol=1e-12)


def _snr_on_the_public_grid(golden):
  a, _, c = teachers.marginal('bridge_gmax', golden['t_grid'])
  return (a / c) ** 2


@pytest.mark.parametrize('name', TEACHERS)
def test_the_public_code_looks_up_linearly_in_amplitude(name, golden):
  """Between a table's second and last entries; n = N t - 1."""
  want = golden[f'{name}_aligned_t'].astype(float)
  inside = (want > 1) & (want < 999)
  assert inside.sum() > 900
  snr = jnp.asarray(_snr_on_the_public_grid(golden))[None]
  got = 1000 * saf.AmplitudeLinear()(TEACHERS[name], snr)[0] - 1
  np.testing.assert_allclose(got[inside], want[inside], rtol=1e-5)
  other = 1000 * saf.SnrLinear()(TEACHERS[name], snr)[0] - 1
  gap = np.abs(other - want)[inside]
  assert 1e-3 < gap.max() < 0.05  # the paper's words and its code


def test_beyond_a_table_the_public_code_stretches_the_ends(golden):
  """Its first amplitude grows by the bridge's largest, a last one is 0.

  There the lookups here clamp or go on along a line; this says how far apart
  they are: less than an entry from a clamp.
  """
  s = np.sqrt(_snr_on_the_public_grid(golden))
  bars = golden['scaled_linear_alphas_cumprod']
  stretched = np.append(np.sqrt(bars / (1 - bars)), 0.0)
  stretched[0] += s.max()
  want = golden['scaled_linear_aligned_t'].astype(float)
  np.testing.assert_allclose(
    np.interp(-s, -stretched, np.arange(1001)), want, rtol=2e-5
  )
  clamped = saf.AmplitudeLinear()(
    TEACHERS['scaled_linear'], jnp.asarray(s[None] ** 2)
  )
  assert np.abs(1000 * clamped[0] - 1 - want).max() < 1


@pytest.mark.parametrize('linear_in', ['snr', 'amplitude'])
def test_a_lookup_reaches_beyond_the_table_along_its_end_lines(linear_in):
  """By as many entries as it may, and in a straight line to there."""
  bars = oracles.alpha_bars(np.linspace(1e-4, 0.02, 1000))
  entries = bars / (1 - bars)
  lookup = saf.SnrLinear if linear_in == 'snr' else saf.AmplitudeLinear
  power = 1.0 if linear_in == 'snr' else 0.5
  values = entries**power
  share = np.array([0.25, 0.7])
  below = values[-1] - share * (values[-2] - values[-1])
  above = values[0] + share * (values[0] - values[1])
  snr = np.concatenate([below, above, [0.0, np.inf]]) ** (1 / power)
  snr = jnp.asarray(snr)[None]
  got = 1000 * lookup(reach=0.5)(discrete.Discrete(), snr)[0] - 1
  want = [999.25, 999.5, -0.25, -0.5, 999.5, -0.5]
  np.testing.assert_allclose(got, want, rtol=1e-6)
  clamped = 1000 * lookup()(discrete.Discrete(), snr)[0] - 1
  want = [999, 999, 0, 0, 999, 0]
  np.testing.assert_allclose(clamped, want, atol=1e-9)


def test_the_public_batch_is_aligned_as_here(golden):
  """Its latents, aligned latents, answers from v, and loss weights.

  The weight takes an error of v to that of psi (FrameBridge Eq. 23).
  """
  here = {
    name: jnp.asarray(np.moveaxis(golden[name], 2, -1), jnp.float64)
    for name in ('z0', 'zT', 'eps', 'zt', 'aligned_z', 'v_target', 'x0_from_v')
  }
  t = golden['t_grid'][golden['t_index']]
  t = jnp.asarray(np.repeat(t[:, None], 3, axis=1))
  process = teachers.BRIDGES['bridge_gmax']
  teacher = diffusion.Diffusion(schedule=TEACHERS['cogvideox'])
  network = toys.Constant()
  aligned = denoiser.align(
    toys.make_denoiser(network, teacher, 'v'), process, saf.AmplitudeLinear()
  )
  plain = toys.make_denoiser(network, process, 'eps')

  @tiny.quick_jit
  def ours(z0, zT, eps, v):
    zt = sde.perturb(process, z0, zT, t, eps)
    view = aligned.view(process, zt, t, zT, zT)
    answer = aligned({'params': {'raw': v}}, zt, t, toys.given(zT))
    return zt, view, answer.x0, plain.weight(t) / aligned.weight(t)

  zt, view, x0, weight = ours(
    *(here[x] for x in ('z0', 'zT', 'eps', 'v_target'))
  )
  _close(zt, here['zt'])
  _close(view.z, here['aligned_z'])
  _close(x0, here['x0_from_v'])
  want = golden['training_weight'].astype(float)
  _close(teachers.line_up(weight[:, :1]), want)
  inside = golden['t_index'] > 9
  np.testing.assert_allclose(
    1000 * view.t[inside, 0] - 1, golden['aligned_t'][inside], rtol=1e-5
  )


def _close(got, want):
  np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5 * np.std(want))
