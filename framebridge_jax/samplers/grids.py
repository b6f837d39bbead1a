"""From progress to process time: `grid(u)` for u from 0 (start) to 1 (clean).

A grid is made for a process and a number of steps.  It works elementwise, on
the host, in float64, so that per-frame plans of progress become per-frame
plans of time.
"""

from collections.abc import Callable

import jax
import numpy as np
from etils import epath

from framebridge_jax.processes import discrete, sde

Grid = Callable[[np.ndarray], np.ndarray]


def uniform(process: sde.Process, num_steps: int) -> Grid:
  """Equal steps of time from T to 0."""
  del num_steps
  T = process.schedule.T
  return lambda u: T * (1 - u)


def quadratic(process: sde.Process, num_steps: int) -> Grid:
  """Steps that grow away from T: fine where a bridge leaves its prior.

  `t = T (1 - u^2)`: there the first steps decide what will move where.
  """
  del num_steps
  T = process.schedule.T
  return lambda u: T * (1 - u**2)


def trailing(
  process: sde.Process, num_steps: int, *, entries: int = discrete.ENTRIES
) -> Grid:
  """Uniform, on the entries of a table: the last one first.

  Raises:
    ValueError: there are more steps than entries.
  """
  _enough(entries, num_steps, 'trailing')
  T = process.schedule.T
  return lambda u: T * np.round(entries * (1 - u)) / entries


def spaced(
  process: sde.Process,
  num_steps: int,
  *,
  spacing: str = 'even',
  entries: int = discrete.ENTRIES,
) -> Grid:
  """The entries that a public sampler visits, rows of SPACINGS, then 0.

  Raises:
    ValueError: the spacing is unknown or takes no such number of steps.
  """
  if spacing not in discrete.SPACINGS:
    raise ValueError(
      f'spacing is {spacing!r}, want one of {", ".join(discrete.SPACINGS)}'
    )
  _enough(entries, num_steps, spacing)
  indices = discrete.SPACINGS[spacing](entries, num_steps)
  times = (indices[::-1] + 1) / entries
  return _through(process.schedule.T * np.append(times, 0.0))


def karras(
  process: sde.Process,
  num_steps: int,
  *,
  rho: float = 7.0,
  t_min: float = 2.5e-5,
) -> Grid:
  """Even in `t^(1/rho)` from T to `t_min T`, then 0.

  EDM's (Karras et al. 2022, Eq. 5) on its own schedule, where t is sigma and
  `t_min T` is 0.002; DDBM takes it for bridges.

  Raises:
    ValueError: an option is out of its range.
  """
  if not (rho > 0 and 0 < t_min < 1):
    raise ValueError(
      f'karras has rho={rho:g}, t_min={t_min:g}; want rho above 0 and t_min, a '
      f'share of T, between 0 and 1'
    )
  T = process.schedule.T
  high, low = T ** (1 / rho), (t_min * T) ** (1 / rho)

  def grid(u):
    share = _to_last(u, num_steps)
    t = (high + share * (low - high)) ** rho
    return np.where(u == 0, T, np.where(u == 1, 0.0, t))

  return grid


def log_snr(
  process: sde.Process,
  num_steps: int,
  *,
  t_min: float = 1e-3,
  t_max: float = 1 - 1e-3,
) -> Grid:
  """Even in log(a / c) from `t_max T` to `t_min T`, between T and 0.

  The ends of the clock are infinite, so the first and the last step lead over
  them.

  Raises:
    ValueError: an option is out of its range.
  """
  if not 0 < t_min < t_max < 1:
    raise ValueError(
      f'log_snr has t_min={t_min:g}, t_max={t_max:g}; want shares of T with '
      f'0 < t_min < t_max < 1'
    )
  ends = np.array([[t_max, t_min]]) * process.schedule.T

  def clock(t):
    a, _, c = process.marginal(t)
    return 2 * jax.numpy.log(a / c)

  start, stop = _on_host(clock, ends)[0]

  def grid(u):
    share = _to_last(u, num_steps)
    snr = np.exp(start + share * (stop - start))
    t = _on_host(process.time_of_snr, np.atleast_2d(snr)).reshape(u.shape)
    return np.where(u == 0, process.schedule.T, np.where(u == 1, 0.0, t))

  return grid


def framebridge(process: sde.Process, num_steps: int) -> Grid:
  """FrameBridge's public grid, `t_n = (n + 1) / 1001` for n < 1000, then 0.

  It begins below T; there the public code starts from the prior without noise.

  Raises:
    ValueError: there are more steps than entries.
  """
  _enough(1000, num_steps, 'framebridge')
  T = process.schedule.T
  return lambda u: T * np.round(1000 * (1 - u)) / 1001


def explicit(
  process: sde.Process, num_steps: int, *, path: str = '', times: str = ''
) -> Grid:
  """Given times from the start down to 0: '1 0.6 0.3 0', or those of a file.

  A file has one a line, or is an .npy.

  Raises:
    ValueError: the file is missing, holds no times, or there are not
      `num_steps + 1` falling ones from at most T to 0.
  """
  found = _numbers(times) if times else _read(path)
  name = f'times={times}' if times else path
  return _through(check_times(found, name, process.schedule.T, num_steps))


def checked(grid: Grid, name: str, T: float, num_steps: int) -> Grid:
  """Gives back a grid whose equal steps a sampler can walk.

  Raises:
    ValueError: as `check_times`.
  """
  times = grid(np.linspace(0, 1, num_steps + 1))
  check_times(times, f'grid {name}', T, num_steps)
  return grid


def check_times(
  times: np.ndarray, name: str, T: float, num_steps: int
) -> np.ndarray:
  """Gives back times that a sampler can walk.

  Raises:
    ValueError: naming the first thing that is wrong.
  """
  if times.ndim != 1:
    raise ValueError(f'{name} holds an array {times.shape}, want one row')
  if len(times) != num_steps + 1:
    raise ValueError(
      f'{name} holds {times.size} times, want num_steps + 1 = {num_steps + 1}'
    )
  if not np.isfinite(times).all():
    raise ValueError(f'{name} holds times that are not finite numbers')
  if times[0] > T or times[-1] != 0:
    raise ValueError(
      f'{name} runs from {times[0]:g} to {times[-1]:g}, want from at most '
      f'T = {T:g} to 0'
    )
  if (np.diff(times) >= 0).any():
    k = int(np.argmax(np.diff(times) >= 0))
    raise ValueError(
      f'{name} must fall; time {k + 2} is {times[k + 1]:g} after {times[k]:g}'
    )
  return times


def _read(path):
  file = epath.Path(path)
  if not file.is_file():
    raise ValueError(
      f'no file of times at {path!r}; give one: grid=explicit:path=times.txt'
    )
  try:
    with file.open('rb') as stream:
      if file.suffix == '.npy':
        return np.load(stream).astype(np.float64)
      return np.loadtxt(stream, dtype=np.float64, ndmin=1)
  except (ValueError, EOFError) as error:
    raise ValueError(f'{path} holds no times: {error}') from None


def _numbers(text):
  try:
    return np.array([float(word) for word in text.split()])
  except ValueError:
    raise ValueError(
      f'times={text}: want numbers with spaces between them'
    ) from None


def _enough(entries, num_steps, name):
  if num_steps > entries:
    raise ValueError(
      f'num_steps is {num_steps}, but grid {name} has {entries} entries'
    )


def _to_last(u, num_steps):
  """Progress that is 1 at the last step's start, where 0 comes after it."""
  return np.clip(u * num_steps / max(num_steps - 1, 1), 0, 1)


def _through(times):
  """Straight lines through given times, which equal steps meet exactly."""
  at = np.linspace(0, 1, len(times))
  return lambda u: np.interp(u, at, times)


def _on_host(fn, x):
  """Evaluates a jax function in float64, without an accelerator."""
  with jax.enable_x64(True), jax.default_device(jax.devices('cpu')[0]):
    return np.asarray(fn(jax.numpy.asarray(x, jax.numpy.float64)))


GRIDS = {
  'uniform': uniform,
  'quadratic': quadratic,
  'trailing': trailing,
  'spaced': spaced,
  'karras': karras,
  'log_snr': log_snr,
  'framebridge': framebridge,
  'explicit': explicit,
}
