"""Tables against other people's, entry by entry, and between the entries."""

import itertools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import oracles
from framebridge_jax.processes import discrete

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden'
Discrete = discrete.Discrete
SCALED = {'table': 'scaled_linear'}
MODELS = {
  'latte_linear': Discrete(),
  'videocrafter1': Discrete(**SCALED),
  'dynamicrafter_256': Discrete(**SCALED),
  'dynamicrafter_512_zsnr': Discrete(**SCALED, zero_terminal=True),
  'cogvideox_5b': Discrete(**SCALED, zero_terminal=True),
  'cogvideox_2b': Discrete(**SCALED, zero_terminal=True, snr_shift=3.0),
}
GRID = np.arange(1, 1001) / 1000
every = pytest.mark.parametrize('name', MODELS)
tables = pytest.mark.parametrize('table', discrete.TABLES)


def _golden(file, name):
  with np.load(GOLDEN / f'{file}.npz') as golden:
    return golden[name]


@every
def test_alpha_bars_are_the_public_code_s(name):
  want = _golden('cogvideox_alphas', name)
  got = discrete.alpha_bars(MODELS[name])
  np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-15)


def test_the_linear_table_is_latte_s():
  want = _golden('latte_diffusion', 'alphas_cumprod')
  np.testing.assert_allclose(discrete.alpha_bars(Discrete()), want, rtol=1e-12)


def test_the_cosine_table_is_its_products():
  got = discrete.alpha_bars(Discrete(table='cosine'))
  want = oracles.alpha_bars(oracles.cosine_betas())
  np.testing.assert_allclose(got, want, rtol=1e-10)
  # Nichol & Dhariwal clip the last beta, and it alone.
  assert got[-1] / got[-2] == pytest.approx(0.001)


@tables
@pytest.mark.parametrize('shift', [1.0, 3.0])
def test_snr_shift_divides_every_snr(table, shift):
  plain = discrete.snrs(Discrete(table=table))
  shifted = discrete.snrs(Discrete(table=table, snr_shift=shift))
  np.testing.assert_allclose(shifted, plain / shift, rtol=1e-9)


@tables
@pytest.mark.parametrize('zero', [False, True])
def test_only_a_zero_terminal_table_ends_in_pure_noise(table, zero):
  """Lin et al. 2024, Alg. 1: the first entry stays."""
  bars = discrete.alpha_bars(Discrete(table=table, zero_terminal=zero))
  assert (bars[-1] == 0) == zero
  first = discrete.alpha_bars(Discrete(table=table))[0]
  assert bars[0] == pytest.approx(first, rel=1e-12)
  assert (np.diff(bars) < 0).all()


@every
def test_entries_are_met_on_the_grid(name):
  """Entry n stands at (n + 1) / N (FrameBridge D.3.1)."""
  bars = _golden('cogvideox_alphas', name)
  t = jnp.asarray(GRID)[None]
  np.testing.assert_allclose(
    MODELS[name].alpha(t)[0] ** 2, bars, rtol=1e-9, atol=1e-15
  )
  np.testing.assert_allclose(MODELS[name].sigma2(t)[0], 1 - bars, rtol=1e-9)


@every
def test_a_step_between_neighbours_is_the_table_s_own_beta(name):
  """What DDPM on the whole table knows: r^2 = 1 - beta, v = beta."""
  bars = _golden('cogvideox_alphas', name)
  beta = 1 - bars[1:] / bars[:-1]
  t = jnp.asarray(GRID)[None]
  r, v = jax.jit(MODELS[name].transition)(t[:, :-1], t[:, 1:])
  np.testing.assert_allclose(r[0] ** 2, 1 - beta, rtol=1e-9, atol=1e-15)
  np.testing.assert_allclose(v[0], beta, rtol=1e-9)


@every
def test_beta_is_constant_between_entries(name):
  """Halfway, alpha is the geometric mean; in the last step to 0 the mean."""
  nodes = np.sqrt(np.concatenate([[1], _golden('cogvideox_alphas', name)]))
  t = jnp.asarray(GRID - 0.0005)[None]
  want = np.sqrt(nodes[1:] * nodes[:-1])
  if nodes[-1] == 0:
    want[-1] = nodes[-2] / 2
  np.testing.assert_allclose(MODELS[name].alpha(t)[0], want, rtol=1e-9)


@every
@pytest.mark.parametrize('dtype', ['float64', 'float32'])
def test_a_teacher_of_a_table_is_asked_linearly_in_snr(name, dtype):
  """FrameBridge D.3.1: exact at entries, straight between, clamped outside."""
  bars = _golden('cogvideox_alphas', name)
  snr = bars / (1 - bars)
  low, high = snr[:-1], snr[1:]
  asked = np.concatenate([snr, 0.25 * low + 0.75 * high, [1e9, 0.0]])
  asked = np.append(asked, snr[-1] / 2)
  want = np.concatenate([GRID, GRID[:-1] + 0.75e-3, [0.001, 1.0, 1.0]])
  got = jax.jit(MODELS[name].teacher_time)(jnp.asarray(asked, dtype)[None])
  assert got.dtype == dtype
  tolerance = 1e-10 if dtype == 'float64' else 2e-6
  np.testing.assert_allclose(got[0], want, rtol=0, atol=tolerance)


@pytest.mark.parametrize('dtype', ['float64', 'float32'])
def test_reach_lets_a_time_leave_the_table_along_its_end_lines(dtype):
  """Beyond 4, 2, 1: lines of slope 2 and 1 an entry, by at most `reach`."""
  entries = np.array([4.0, 2.0, 1.0])
  value = jnp.asarray([[5.0, 4.0, 3.0, 1.5, 1.0, 0.5, -9.0, np.inf]], dtype)

  def index(reach):
    t = discrete.time_between_entries(value, entries, reach)
    return np.asarray(t[0], np.float64) * 3 - 1

  inside = [0.5, 1.5, 2.0]
  want = [0, 0, *inside, 2, 2, 0]
  np.testing.assert_allclose(index(0.0), want, atol=1e-6)
  want = [-0.5, 0, *inside, 2.5, 3, -1]
  np.testing.assert_allclose(index(1.0), want, atol=1e-6)


SPACINGS = {
  **{
    f'timestep_map_{n}': ('latte_diffusion', discrete.even, n)
    for n in (10, 50, 250)
  },
  'timestep_map_ddim10': ('latte_diffusion', discrete.strided, 10),
}
for _n in (25, 50, 100):
  SPACINGS[f'lvdm_uniform_{_n}'] = ('cogvideox_alphas', discrete.leading, _n)
  for _name in ('lvdm_uniform_trailing', 'cogvideox_trailing'):
    SPACINGS[f'{_name}_{_n}'] = ('cogvideox_alphas', discrete.trailing, _n)


@pytest.mark.parametrize('name', SPACINGS)
def test_spacing_is_the_public_code_s(name):
  file, spacing, steps = SPACINGS[name]
  want = np.sort(_golden(file, name))
  np.testing.assert_array_equal(spacing(1000, steps), want)


@pytest.mark.parametrize('mode', ['uniform', 'trailing'])
def test_ddim_of_eta_one_is_the_pinned_step_of_the_public_code(mode):
  """Its sigma is c of the step from an entry to the one before (DDIM Eq. 16).

  Upstream's float32 alphas carry 1e-5 into the first sigmas.  Its last step
  goes to the table's first entry, not to t = 0.
  """
  table = {'uniform': 'videocrafter1', 'trailing': 'dynamicrafter_512_zsnr'}
  schedule = MODELS[table[mode]]
  index, sigmas, alphas, before = (
    _golden('lvdm_ddim_params', f'{mode}_{x}')
    for x in ('t', 'sigmas', 'alphas', 'alphas_prev')
  )
  t = jnp.asarray((index + 1) / 1000)[None]
  s = jnp.concatenate([jnp.full((1, 1), 1 / 1000), t[:, :-1]], axis=1)
  np.testing.assert_allclose(schedule.alpha(t)[0] ** 2, alphas, atol=2e-7)
  np.testing.assert_allclose(schedule.alpha(s)[0] ** 2, before, atol=2e-7)
  np.testing.assert_allclose(schedule.pinned(s, t).c[0], sigmas, rtol=1e-4)


@pytest.mark.parametrize(
  ('spacing', 'steps'),
  sorted(
    set(itertools.product(discrete.SPACINGS, [1, 2, 10, 1000]))
    - {('leading', 1000), ('strided', 1)}
  ),
)
def test_spacings_are_rising_entries_of_the_table(spacing, steps):
  indices = discrete.SPACINGS[spacing](1000, steps)
  assert len(indices) == steps
  assert (np.diff(indices) > 0).all()
  assert indices[0] >= 0
  assert indices[-1] <= 999


def test_a_spacing_that_does_not_fit_the_table_is_refused():
  with pytest.raises(ValueError, match='no whole stride takes 300 steps'):
    discrete.strided(1000, 300)
  with pytest.raises(ValueError, match='no whole stride takes 1 steps'):
    discrete.strided(1000, 1)
  with pytest.raises(ValueError, match='1000 steps ends behind 1000 entries'):
    discrete.leading(1000, 1000)


def test_an_unknown_table_is_refused_with_the_known_ones():
  with pytest.raises(ValueError, match="'sqrt', want one of linear, scaled_l"):
    Discrete(table='sqrt')
