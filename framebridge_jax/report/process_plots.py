"""Pictures of the mathematics, each drawn from the library's own functions.

Times are shown as shares of T.  Everything is computed on the host in float64.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from framebridge_jax.processes import bridge, discrete, saf, schedules
from framebridge_jax.report import heatmap, panels

Bridges = Mapping[str, bridge.Bridge]
Schedules = Mapping[str, schedules.Schedule]
Times = Float[np.ndarray, 'rows f']


def draw_schedules(rows: Schedules) -> str:
  """alpha, sigma and log10 SNR of every schedule."""

  def levels(t, schedule):
    return schedule.alpha(t), schedule.sigma(t), schedule.snr(t)

  columns = {}
  for name, schedule in rows.items():
    alpha, sigma, snr = _on_host(levels, _SHARES * schedule.T, schedule)
    with np.errstate(divide='ignore'):
      powers = np.log10(snr)
    columns[name] = [
      _panel('alpha', alpha, 'blue'),
      _panel('sigma', sigma, 'orange'),
      _panel('snr', powers, 'green'),
    ]
  return panels.small_multiples(
    columns,
    x=_TIME,
    rows=[
      panels.Scale('alpha', -0.05, 1.05),
      panels.Scale('sigma', 1e-3, 200.0, log=True),
      panels.Scale('log10 SNR', -6.0, 6.0),
    ],
    about=f'Signal alpha, noise sigma and signal-to-noise ratio over time of '
    f'{len(rows)} schedules: {", ".join(rows)}.',
  )


def draw_marginals(rows: Bridges) -> str:
  """a, b and c of every bridge's marginal."""
  columns = {}
  for name, process in rows.items():
    t = _SHARES * process.schedule.T
    a, b, c = _on_host(process.marginal, t)
    most = int(np.argmax(c))
    peak = f'most {c[most]:.2g} at {_SHARES[most]:.2g}'
    columns[name] = [
      panels.Panel(
        curves=[_curve('a', a, 'blue'), _curve('b', b, 'orange')],
        # Clear of both lines: below a, above b.
        notes=[
          panels.Note('a', 0.2, np.interp(0.2, _SHARES, a) - 0.2, 'blue'),
          panels.Note('b', 0.2, np.interp(0.2, _SHARES, b) + 0.1, 'orange'),
        ],
      ),
      panels.Panel(
        curves=[_curve('c', c, 'green')],
        notes=[panels.Note(peak, 0.5, 2e-3, anchor='middle')],
      ),
    ]
  return panels.small_multiples(
    columns,
    x=_TIME,
    rows=[
      panels.Scale('a, b', -0.05, 1.05),
      panels.Scale('c', 1e-3, 200.0, log=True),
    ],
    about='Weights of the data (a), of the prior (b) and of the noise (c) in '
    f'the marginal of bridges over {", ".join(rows)}.',
  )


def draw_alignment(process: bridge.Bridge, teachers: Schedules) -> str:
  """A teacher's time and amplitude along a bridge; what the lookup changes."""
  columns = {}
  for name, teacher in teachers.items():
    seen, k = _on_host(_aligned, _SHARES * process.schedule.T, process, teacher)
    columns[name] = [
      _panel('teacher time', seen / teacher.T, 'blue'),
      _panel('k', k, 'orange'),
      _lookups(process, teacher),
    ]
  return panels.small_multiples(
    columns,
    x=panels.Scale('bridge time t / T', 0.0, 1.0),
    rows=[
      panels.Scale('teacher t~ / T~', -0.05, 1.05),
      panels.Scale('amplitude k', -0.15, 3.3),
      panels.Scale('gap in entries', 1e-5, 1.0, log=True),
    ],
    about=f'Time that a teacher is asked at, and amplitude k that its input '
    f'is divided by, along the bridge, for the teachers {"; ".join(teachers)}; '
    'for tables also by how many entries the two lookups differ.',
  )


def draw_time_plans(plans: Mapping[str, Times]) -> str:
  """Every frame's time at every step; frames that stand at 0 are known."""
  maps = {}
  for name, times in plans.items():
    known = np.flatnonzero((times == 0).all(axis=0)).tolist()
    others = np.delete(times, known, axis=1)
    ends = f'start {_span(others[0])}, end {_span(others[-1])}'
    maps[name] = heatmap.HeatMap(
      values=times, marked=known, notes=[f'known: {_ranges(known)}', ends]
    )
  return heatmap.heat_maps(
    maps,
    columns='frame',
    rows='step',
    key=('t / T', '0, clean', '1, prior or noise'),
    about=f'Time of each frame at each step for the tasks {", ".join(plans)}.',
  )


def _panel(name, y, colour):
  return panels.Panel(curves=[_curve(name, y, colour)])


def _curve(name, y, colour):
  return panels.Curve(name=name, x=_SHARES, y=y, colour=colour)


def _aligned(t, process, teacher):
  """Teacher's time and k; the view holds a/k and c/k, and k is 0 at T."""
  a, _, c = process.marginal(t)
  z = jnp.zeros((*t.shape, 1, 1, 1), t.dtype)
  view = saf.Aligned(teacher=teacher)(process, z, t, z, z)
  return view.t, jnp.sqrt((a**2 + c**2) / (view.alpha**2 + view.sigma**2))


def _lookups(process, teacher):
  """How far the two lookups come apart between each two entries, in entries."""
  if not isinstance(teacher, discrete.Discrete):
    word = panels.Note('no table', 0.5, 3e-3, anchor='middle')
    return panels.Panel(notes=[word])
  entries = discrete.snrs(teacher)
  share = np.linspace(0.0, 1.0, 33)[:, None]
  snr = entries[:-1] + share * (entries[1:] - entries[:-1])

  def apart(snr):
    linear, amplitude = saf.SnrLinear(), saf.AmplitudeLinear()
    return jnp.abs(linear(teacher, snr) - amplitude(teacher, snr))

  (gap,) = _on_host(lambda snr: (apart(snr),), snr.ravel())
  (t,) = _on_host(lambda snr: (process.time_of_snr(snr),), entries)
  gap = gap.reshape(snr.shape).max(axis=0) * len(entries)
  middle = (t[1:] + t[:-1]) / (2 * process.schedule.T)
  return panels.Panel(
    curves=[panels.Curve(name='lookups', x=middle, y=gap, colour='green')],
    notes=[panels.Note(f'at most {gap.max():.2g}', 0.5, 3e-5, anchor='middle')],
  )


def _on_host(fn, points, *args):
  """Arrays that `fn` of per-frame times gives, without an accelerator."""
  with jax.enable_x64(True), jax.default_device(jax.devices('cpu')[0]):
    given = fn(jnp.asarray(points, jnp.float64)[None], *args)
    return [np.asarray(array)[0] for array in given]


def _ranges(indices):
  """0, 1, 2, 7 as '0-2, 7'; 'none' where there are none."""
  runs = []
  for index in indices:
    if runs and index == runs[-1][-1] + 1:
      runs[-1] = (runs[-1][0], index)
    else:
      runs.append((index, index))
  words = (f'{a}' if a == b else f'{a}-{b}' for a, b in runs)
  return ', '.join(words) or 'none'


def _span(values):
  """The least and the largest value, or the one that all have."""
  low, high = (f'{round(x, 2):g}' for x in (values.min(), values.max()))
  return low if low == high else f'{low} to {high}'


def _shares():
  """0 to 1, dense at both ends, where logarithms move."""
  ends = np.geomspace(1e-6, 1e-2, 25)
  return np.unique(np.concatenate([np.linspace(0, 1, 101), ends, 1 - ends]))


_SHARES = _shares()
_TIME = panels.Scale('t / T', 0.0, 1.0)
