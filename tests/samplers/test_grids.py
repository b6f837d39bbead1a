"""Grids from progress to time."""

import pathlib

import numpy as np
import pytest
import walks

from framebridge_jax.samplers import grids

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden'
EDM = walks.CASES['diffusion edm'].process
T = 80.0
STEPS = 20
every = pytest.mark.parametrize('name', grids.GRIDS)
processes = pytest.mark.parametrize(
  'process', ['diffusion edm', 'diffusion flow', 'bridge vp']
)


@pytest.fixture
def make(tmp_path):
  """Any row of the table; the explicit one reads a file."""

  def make(name, process, num_steps=STEPS):
    if name != 'explicit':
      return grids.GRIDS[name](process, num_steps)
    path = tmp_path / 'times.npy'
    np.save(path, process.schedule.T * np.linspace(1, 0, num_steps + 1) ** 1.5)
    return grids.explicit(process, num_steps, path=str(path))

  return make


@every
@processes
def test_grid_begins_at_exactly_T_and_ends_at_exactly_zero(name, process, make):
  """FrameBridge's public one begins at 1000 / 1001 of it."""
  process = walks.CASES[process].process
  T = process.schedule.T
  t = make(name, process)(np.array([0.0, 1.0]))
  start = T * 1000 / 1001 if name == 'framebridge' else T
  np.testing.assert_array_equal(t, [start, 0.0])


@every
@processes
@pytest.mark.parametrize('steps', [1, 2, STEPS, 250])
def test_grid_falls_strictly_and_stays_float64(name, process, steps, make):
  grid = make(name, walks.CASES[process].process, steps)
  t = grid(np.linspace(0, 1, steps + 1))
  assert t.dtype == np.float64
  assert (np.diff(t) < 0).all()


@every
@processes
def test_grid_works_elementwise_on_plans(name, process, make):
  grid = make(name, walks.CASES[process].process)
  u = np.random.default_rng(0).uniform(size=(3, 2))
  u[0, 0], u[1, 1] = 0.0, 1.0
  want = [[grid(np.array([x])).item() for x in row] for row in u]
  np.testing.assert_array_equal(grid(u), want)


def _walk(grid, steps):
  return grid(np.linspace(0, 1, steps + 1))


def test_uniform_grid_has_equal_steps():
  t = _walk(grids.uniform(EDM, 5), 5)
  np.testing.assert_allclose(t, [80, 64, 48, 32, 16, 0], atol=1e-13)


def test_quadratic_grid_has_steps_that_grow_evenly_away_from_T():
  """Steps as 1, 3, 5, 7: the odd numbers, whose sums are squares."""
  t = _walk(grids.quadratic(EDM, 4), 4)
  np.testing.assert_allclose(-np.diff(t), np.array([1, 3, 5, 7]) * 5)


def test_karras_grid_is_edms_list_of_18_steps():
  """Karras et al. 2022, Eq. 5 and Table 1: 80 to 0.002 with rho 7, then 0."""
  n, rho, most, least = 18, 7, 80, 0.002
  want = [
    (most ** (1 / rho) + i / (n - 1) * (least ** (1 / rho) - most ** (1 / rho)))
    ** rho
    for i in range(n)
  ] + [0]
  np.testing.assert_allclose(_walk(grids.karras(EDM, n), n), want, rtol=1e-11)


@processes
def test_log_snr_grid_is_even_in_log_of_a_over_c(process):
  """But for its first and last step, which lead over infinite ends."""
  case = walks.CASES[process]
  grid = grids.log_snr(case.process, 9, t_min=0.01, t_max=0.98)
  t = _walk(grid, 9)

  def clock(t):
    a, _, c = case.marginal(t)
    return np.log(a / c)

  start, stop = clock(case.T * np.array([0.98, 0.01]))
  want = start + (stop - start) * np.arange(1, 9) / 8
  np.testing.assert_allclose(clock(t[1:-1]), want, rtol=1e-7)


def test_framebridge_grid_is_the_recorded_one():
  with np.load(GOLDEN / 'framebridge_schedule.npz') as file:
    recorded = file['t_grid']
  process = walks.CASES['bridge bridge_gmax'].process
  t = _walk(grids.framebridge(process, 1000), 1000)
  np.testing.assert_allclose(t[:-1], recorded[::-1], rtol=1e-14)


def _recorded(file, key):
  with np.load(GOLDEN / f'{file}.npz') as arrays:
    return np.sort(arrays[key])[::-1]


@pytest.mark.parametrize(
  ('file', 'key', 'spacing'),
  [
    ('latte_diffusion', 'timestep_map_10', 'even'),
    ('latte_diffusion', 'timestep_map_50', 'even'),
    ('latte_diffusion', 'timestep_map_250', 'even'),
    ('latte_diffusion', 'timestep_map_ddim10', 'strided'),
    ('cogvideox_alphas', 'cogvideox_trailing_25', 'trailing'),
    ('cogvideox_alphas', 'cogvideox_trailing_50', 'trailing'),
    ('cogvideox_alphas', 'cogvideox_trailing_100', 'trailing'),
    ('cogvideox_alphas', 'lvdm_uniform_25', 'leading'),
    ('cogvideox_alphas', 'lvdm_uniform_50', 'leading'),
    ('cogvideox_alphas', 'lvdm_uniform_100', 'leading'),
    ('cogvideox_alphas', 'lvdm_uniform_trailing_50', 'trailing'),
  ],
)
def test_spaced_grid_visits_the_entries_of_public_samplers(file, key, spacing):
  recorded = _recorded(file, key)
  process = walks.CASES['diffusion table_linear'].process
  t = _walk(
    grids.spaced(process, len(recorded), spacing=spacing), len(recorded)
  )
  np.testing.assert_allclose(1000 * t[:-1] - 1, recorded, atol=1e-9)
  assert t[-1] == 0


@pytest.mark.parametrize('steps', [25, 50, 100])
def test_trailing_grid_is_cogvideoxs(steps):
  recorded = _recorded('cogvideox_alphas', f'cogvideox_trailing_{steps}')
  process = walks.CASES['diffusion table_cogvideox_2b'].process
  t = _walk(grids.trailing(process, steps), steps)
  np.testing.assert_allclose(1000 * t[:-1] - 1, recorded, atol=1e-9)


@pytest.mark.parametrize('name', ['trailing', 'spaced', 'framebridge'])
def test_more_steps_than_entries_are_refused(name):
  with pytest.raises(ValueError, match=r'num_steps is 1001.* has 1000 entries'):
    grids.GRIDS[name](EDM, 1001)


@pytest.mark.parametrize(
  ('spacing', 'steps', 'message'),
  [
    ('odd', 10, "spacing is 'odd', want one of even, strided"),
    ('strided', 300, 'no whole stride takes 300 steps over 1000 entries'),
    ('leading', 1000, 'leading spacing of 1000 steps ends behind 1000'),
  ],
)
def test_spacings_that_cannot_be_are_refused(spacing, steps, message):
  with pytest.raises(ValueError, match=message):
    grids.spaced(EDM, steps, spacing=spacing)


@pytest.mark.parametrize('kind', ['txt', 'npy'])
def test_explicit_grid_is_the_file(kind, tmp_path):
  times, path = np.array([80.0, 20.5, 3.0, 0.0]), tmp_path / f'times.{kind}'
  if kind == 'npy':
    np.save(path, times.astype(np.float32))
  else:
    path.write_text('80\n20.5\n3\n0\n')
  got = _walk(grids.explicit(EDM, 3, path=str(path)), 3)
  np.testing.assert_array_equal(got, times)


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('80\n20\n0\n', r'times\.txt holds 3 times, want num_steps \+ 1 = 4'),
    ('80\nnan\n3\n0\n', r'times\.txt holds times that are not finite'),
    ('81\n20\n3\n0\n', r'runs from 81 to 0, want from at most T = 80 to 0'),
    ('80\n20\n3\n1\n', r'runs from 80 to 1, want from at most T = 80 to 0'),
    ('80\n3\n3\n0\n', r'must fall; time 3 is 3 after 3'),
    ('80\ntwenty\n3\n0\n', r'times\.txt holds no times: '),
  ],
)
def test_files_that_no_sampler_can_walk_are_refused(text, message, tmp_path):
  path = tmp_path / 'times.txt'
  path.write_text(text)
  with pytest.raises(ValueError, match=message):
    grids.explicit(EDM, 3, path=str(path))


def test_a_missing_file_is_refused_with_the_way_to_give_one():
  with pytest.raises(ValueError, match='no file of times at .*explicit:path='):
    grids.explicit(EDM, 3)


def test_a_file_of_times_that_is_no_array_is_refused(tmp_path):
  path = tmp_path / 'times.npy'
  path.write_bytes(b'no array')
  with pytest.raises(ValueError, match=r'times\.npy holds no times'):
    grids.explicit(EDM, 3, path=str(path))


@pytest.mark.parametrize(
  ('name', 'options'),
  [
    ('karras', {'rho': 0.0}),
    ('karras', {'t_min': -1.0}),
    ('karras', {'t_min': 2.0}),
    ('log_snr', {'t_max': 1.0}),
    ('log_snr', {'t_min': 0.0}),
    ('log_snr', {'t_min': 0.9, 't_max': 0.1}),
  ],
)
def test_options_out_of_their_range_are_refused(name, options):
  with pytest.raises(ValueError, match=f'{name} has .*; want'):
    grids.GRIDS[name](EDM, 5, **options)


def test_explicit_grid_takes_times_as_they_are_written():
  grid = grids.explicit(EDM, 3, times='80 12.5 1 0')
  np.testing.assert_allclose(_walk(grid, 3), [80, 12.5, 1, 0])
  with pytest.raises(ValueError, match='times=80 x 0: want numbers'):
    grids.explicit(EDM, 2, times='80 x 0')


def test_a_grid_that_cannot_be_walked_is_found():
  with pytest.raises(ValueError, match='grid stalled must fall'):
    grids.checked(lambda u: np.where(u < 1, 80.0, 0.0), 'stalled', 80.0, 4)
