"""Plots hold what they claim: curves are read back through their axes."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

import plots
from framebridge_jax import arguments
from framebridge_jax.processes import bridge, table
from framebridge_jax.report import heatmap, panels, process_plots

NEAR = 2e-3  # a tenth of a pixel of 88 for values from 0 to 1


def schedule_of(text):
  row, options = arguments.parse_row(text, table.SCHEDULES)
  return row(**options)


@pytest.fixture(scope='module')
def schedules():
  rows = {name: schedule_of(name) for name in table.SCHEDULES}
  return plots.Plot(process_plots.draw_schedules(rows))


@pytest.fixture(scope='module')
def marginals():
  names = ('bridge_gmax', 'bridge_gconst', 'vp', 've', 'edm')
  rows = {name: bridge.Bridge(schedule=schedule_of(name)) for name in names}
  return plots.Plot(process_plots.draw_marginals(rows))


TABLE = 'table_scaled_linear:snr_shift=3,zero_terminal=true'
TEACHERS = ('vp', 'edm', 'flow', 'table_linear', TABLE)


@pytest.fixture(scope='module')
def alignment():
  process = bridge.Bridge(schedule=schedule_of('bridge_gmax'))
  teachers = {name: schedule_of(name) for name in TEACHERS}
  return plots.Plot(process_plots.draw_alignment(process, teachers))


def test_every_schedule_has_its_panels(schedules):
  rows = ('alpha', 'sigma', 'log10 SNR')
  assert list(schedules.panels) == [
    (name, row) for name in table.SCHEDULES for row in rows
  ]


def vp_alpha(t):
  return np.exp(-(t**2) * 19.9 / 4 - t * 0.1 / 2)


def gmax_sigma2(t):
  return 49.99 * t**2 / 2 + 0.01 * t


@pytest.mark.parametrize('t', [0.1, 0.5, 0.8])
def test_alpha_is_the_closed_form(schedules, t):
  ones = ('bridge_gmax', 'bridge_gconst', 've', 'edm')
  wanted = dict.fromkeys(ones, 1.0) | {'vp': vp_alpha(t), 'flow': 1 - t}
  for name, alpha in wanted.items():
    drawn = schedules.at(name, 'alpha', 'alpha', t)
    assert drawn == pytest.approx(alpha, abs=NEAR), name


@pytest.mark.parametrize('t', [0.1, 0.5, 0.8])
def test_sigma_is_the_closed_form_on_its_logarithmic_axis(schedules, t):
  wanted = {
    'bridge_gmax': gmax_sigma2(t) ** 0.5,
    'bridge_gconst': t**0.5,
    've': 0.02 * (2500 ** (2 * t) - 1) ** 0.5,
    'edm': 80 * t,
    'flow': t,
  }
  for name, sigma in wanted.items():
    drawn = schedules.at(name, 'sigma', 'sigma', t, log=True)
    assert drawn == pytest.approx(sigma, rel=0.02), name


@pytest.mark.parametrize('t', [0.1, 0.5, 0.8])
def test_snr_is_drawn_in_powers_of_ten(schedules, t):
  wanted = {
    'vp': vp_alpha(t) ** 2 / (1 - vp_alpha(t) ** 2),
    'edm': (80 * t) ** -2.0,
    'flow': ((1 - t) / t) ** 2,
  }
  for name, snr in wanted.items():
    drawn = schedules.at(name, 'log10 SNR', 'snr', t)
    assert drawn == pytest.approx(np.log10(snr), abs=0.02), name


def test_infinite_ends_leave_the_panel_at_its_edge(schedules):
  for name in table.SCHEDULES:
    xs, ys = schedules.curve(name, 'log10 SNR', 'snr')
    assert ys[0] == pytest.approx(6, abs=0.02)
    assert ys.max() < 6.02
    assert ys.min() > -6.02
    assert xs[-1] == pytest.approx(1, abs=0.01)
    fades = name in ('cosine', 'flow', 'table_cosine')
    assert (ys[-1] < -5.9) == fades, name


@pytest.mark.parametrize('t', [0.1, 0.5, 0.8])
def test_a_bridges_marginal_is_equation_12(marginals, t):
  brownian = (1 - t, t, (t * (1 - t)) ** 0.5)
  share = gmax_sigma2(t) / gmax_sigma2(1.0)
  gmax = (1 - share, share, (gmax_sigma2(t) * (1 - share)) ** 0.5)
  edm = (1 - t**2, t**2, 80 * t * (1 - t**2) ** 0.5)
  alpha, end = vp_alpha(t), vp_alpha(1.0)
  share = (end**2 / (1 - end**2)) / (alpha**2 / (1 - alpha**2))
  sigma = (1 - alpha**2) ** 0.5
  vp = (alpha * (1 - share), share * alpha / end, sigma * (1 - share) ** 0.5)
  wanted = {'bridge_gconst': brownian, 'bridge_gmax': gmax, 'edm': edm}
  for name, (a, b, c) in (wanted | {'vp': vp}).items():
    assert marginals.at(name, 'a, b', 'a', t) == pytest.approx(a, abs=NEAR)
    assert marginals.at(name, 'a, b', 'b', t) == pytest.approx(b, abs=NEAR)
    drawn = marginals.at(name, 'c', 'c', t, log=True)
    assert drawn == pytest.approx(c, rel=0.02), name


def test_the_noisiest_time_of_a_bridge_is_named(marginals):
  assert marginals.words('bridge_gconst', 'c') == ['most 0.5 at 0.5']
  # t sqrt(1 - t^2) is largest, 1/2, at 1 / sqrt(2).
  assert marginals.words('edm', 'c') == ['most 40 at 0.71']


def aligned_at(alignment, teacher, row, name, t):
  return alignment.at(teacher, row, name, t, x='bridge time t / T')


@pytest.mark.parametrize('t', [0.1, 0.5, 0.8, 0.95])
def test_teachers_are_asked_where_their_snr_is_the_bridges(alignment, t):
  share = gmax_sigma2(t) / gmax_sigma2(1.0)
  a, c = 1 - share, (gmax_sigma2(t) * (1 - share)) ** 0.5
  root = np.log(1 + c**2 / a**2)  # = -2 log alpha of a VP teacher
  vp = (-0.1 + (0.01 + 2 * 19.9 * root) ** 0.5) / 19.9
  wanted = {'vp': vp, 'edm': c / a / 80, 'flow': c / (a + c)}
  for name, time in wanted.items():
    drawn = aligned_at(alignment, name, 'teacher t~ / T~', 'teacher time', t)
    assert drawn == pytest.approx(time, abs=NEAR), name


@pytest.mark.parametrize('t', [0.1, 0.5, 0.8, 0.95])
def test_k_brings_the_latent_to_the_teachers_length(alignment, t):
  share = gmax_sigma2(t) / gmax_sigma2(1.0)
  a, c = 1 - share, (gmax_sigma2(t) * (1 - share)) ** 0.5
  constant = (a**2 + c**2) ** 0.5
  wanted = dict.fromkeys(TEACHERS, constant) | {'edm': a, 'flow': a + c}
  for name, k in wanted.items():
    drawn = aligned_at(alignment, name, 'amplitude k', 'k', t)
    assert drawn == pytest.approx(k, abs=5e-3), name


def test_lookups_differ_by_at_most_a_known_part_of_an_entry(alignment):
  """Between amplitudes p > q the two lines are (p - q) / (4 (p + q)) apart."""
  bars = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
  root = (bars / (1 - bars)) ** 0.5
  gap = (root[:-1] - root[1:]) / (4 * (root[:-1] + root[1:]))
  _, drawn = alignment.curve(
    'table_linear', 'gap in entries', 'lookups', log=True, x='bridge time t / T'
  )
  assert drawn.max() == pytest.approx(gap.max(), rel=0.02)
  assert drawn.min() == pytest.approx(gap.min(), rel=0.02)
  words = alignment.words('table_linear', 'gap in entries')
  assert words == [f'at most {gap.max():.2g}']
  # A last amplitude of 0 makes it a quarter of an entry.
  assert alignment.words(TABLE, 'gap in entries') == ['at most 0.25']


def test_teachers_without_a_table_have_no_lookups(alignment):
  for name in ('vp', 'edm', 'flow'):
    panel = alignment.panels[name, 'gap in entries']
    assert not list(panel.findall('.//{*}polyline'))
    assert alignment.words(name, 'gap in entries') == ['no table']


@pytest.mark.parametrize(
  ('peak', 'crossings'), [(2.0, (0.25, 0.75)), (np.inf, (0.0, 1.0))]
)
def test_a_curve_is_cut_where_it_leaves_its_panel_and_returns(peak, crossings):
  wave = panels.Curve(
    name='wave',
    x=np.array([0.0, 0.5, 1.0]),
    y=np.array([0.0, peak, 0.0]),
    colour='blue',
  )
  svg = panels.small_multiples(
    {'one': [panels.Panel(curves=[wave])]},
    x=panels.Scale('x', 0.0, 1.0),
    rows=[panels.Scale('y', 0.0, 1.0)],
    about='a wave',
  )
  root = ElementTree.fromstring(svg)
  (frame,) = root.findall('.//{*}rect')
  left, top, wide = (float(frame.get(key)) for key in ('x', 'y', 'width'))
  rise, fall = root.findall('.//{*}polyline')
  cuts = (rise.get('points').split()[-1], fall.get('points').split()[0])
  for cut, crossing in zip(cuts, crossings, strict=True):
    x, y = map(float, cut.split(','))
    assert (x - left) / wide == pytest.approx(crossing, abs=2e-3)
    assert y == pytest.approx(top, abs=0.1)


def test_heat_maps_show_times_and_known_frames():
  clock = 1 - np.arange(6)[:, None] / 5
  plans = {
    'some <known>': np.repeat(clock, 4, axis=1) * [0, 1, 0.5, 0],
    'none': np.repeat(clock, 4, axis=1),
  }
  svg = process_plots.draw_time_plans(plans)
  groups = [g for g in ElementTree.fromstring(svg).findall('.//{*}g')]
  assert [g.get('data-map') for g in groups] == list(plans)
  for group, known, words in zip(
    groups,
    ([0, 3], []),
    (
      ['known: 0, 3', 'start 0.5 to 1, end 0'],
      ['known: none', 'start 1, end 0'],
    ),
    strict=True,
  ):
    name = group.get('data-map')
    colours, marked = plots.read_map(group)
    assert marked == known
    wanted = [[heatmap.colour(x) for x in line] for line in plans[name]]
    assert colours == wanted
    assert [x.text for x in group.findall('.//{*}text')][:3] == [name, *words]


def test_neighbours_are_named_as_a_run():
  times = np.ones((3, 12))
  times[:, [0, 1, 2, 5, 10, 11]] = 0
  svg = process_plots.draw_time_plans({'runs': times})
  assert 'known: 0-2, 5, 10-11<' in svg


def test_the_ends_of_the_heat_are_viridis():
  """matplotlib 3.9: viridis(1.0) and viridis(0.0)."""
  assert heatmap.colour(0.0) == '#fde725'
  assert heatmap.colour(1.0) == '#440154'
