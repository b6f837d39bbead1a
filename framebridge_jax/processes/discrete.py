"""Tables of noise levels, as continuous schedules.

A table of N entries `alpha_bar = alpha^2` stands on the grid
`t_n = (n + 1) / N`, n = 0..N-1; t = 0 is exactly clean.  Between entries
`log alpha` is linear in t (beta is constant), so that entries are met exactly.
The last step of a table that ends in pure noise, where the log is infinite,
is linear in alpha.
"""

import dataclasses
import functools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from framebridge_jax.arrays import FrameTime
from framebridge_jax.processes import schedules

Table = Float[np.ndarray, 'entries']
Indices = Int[np.ndarray, 'steps']

ENTRIES = 1000
_MOST_VALUE = 1e16  # stands for the infinite SNR of t = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Discrete(schedules.Schedule):
  """A table of noise levels at constant variance.

  Attributes:
    table: a row of TABLES.
    snr_shift: divides every SNR of the table (CogVideoX-2B: 3).
    zero_terminal: moves the table so that it ends in pure noise (Lin et al.
      2024, Alg. 1), after the shift.
  """

  T: float = dataclasses.field(default=1.0, init=False)
  table: str = 'linear'
  snr_shift: float = 1.0
  zero_terminal: bool = False

  def __post_init__(self):
    super().__post_init__()
    if self.table not in TABLES:
      raise ValueError(
        f'table is {self.table!r}, want one of {", ".join(TABLES)}'
      )

  @property
  def fades_out(self) -> bool:
    """Whether the table ends in pure noise."""
    return bool(alpha_bars(self)[-1] == 0)

  def alpha(self, t: FrameTime) -> FrameTime:
    """Scale of the signal; the table's own value at its entries."""
    log, left, _ = self._segment(t)
    return jnp.exp(log) * left

  def log_alpha(self, t: FrameTime) -> FrameTime:
    """Log of `alpha`; -inf at the T of a table that ends in pure noise."""
    log, left, _ = self._segment(t)
    return log + jnp.log(left)

  def sigma2(self, t: FrameTime) -> FrameTime:
    """1 - alpha^2."""
    log, _, ends = self._segment(t)
    return jnp.where(ends, 1 - self.alpha(t) ** 2, -jnp.expm1(2 * log))

  def transition(
    self, s: FrameTime, t: FrameTime
  ) -> tuple[FrameTime, FrameTime]:
    """Gives v = 1 - r^2, from log r where r is near 1."""
    r = self.alpha(t) / self.alpha(s)
    far = r < 0.5
    near = (jnp.where(far, jnp.zeros_like(x), x) for x in (s, t))
    return r, jnp.where(far, 1 - r**2, -jnp.expm1(2 * self._fall(*near)))

  def time_of_snr(self, snr: FrameTime) -> FrameTime:
    """Inverts `log alpha = -log(1 + 1 / snr) / 2` segment by segment."""
    logs = _log_alphas(self)
    logs = logs[np.isfinite(logs)]
    wanted = -0.5 * jnp.log1p(1 / snr)
    index = _position(wanted, logs, reach=0.0)
    if self.fades_out:
      index -= jnp.expm1(jnp.minimum(wanted - float(logs[-1]), 0.0))
    return index / ENTRIES

  def teacher_time(self, snr: FrameTime) -> FrameTime:
    """Linear in SNR between entries, clamped to them (FrameBridge D.3.1)."""
    return time_between_entries(snr, snrs(self))

  def _segment(self, t):
    """Log alpha; in the segment that ends in pure noise, that of its start.

    There alpha is yet to be multiplied by what is left of the segment.
    """
    i = _index(t)
    start, _ = _split(_log_alphas(self)[:-1], i, t.dtype)
    step, ends = self._step(i, t.dtype)
    left = jnp.where(ends, (1 - t) * ENTRIES, jnp.ones_like(t))
    return start + step * _beyond(t, i), left, ends

  def _step(self, i, dtype):
    """Change of log alpha in segment i, and whether it is infinite (0)."""
    steps = np.diff(_log_alphas(self))
    infinite = np.isinf(steps)
    step = jnp.asarray(np.where(infinite, 0, steps), dtype)
    return step[i], jnp.asarray(infinite)[i]

  def _fall(self, s, t):
    """Log alpha_t - log alpha_s of near times, as a sum of small terms."""
    i, j = _index(s), _index(t)
    (step_s, _), (step_t, ends) = (self._step(n, s.dtype) for n in (i, j))
    logs = _log_alphas(self)[:-1]
    after, start = (
      _split(logs, n, s.dtype) for n in (jnp.minimum(i + 1, j), j)
    )
    between = (start[0] - after[0]) + (start[1] - after[1])
    _, left, _ = self._segment(t)
    ahead = step_t * _beyond(t, j) + jnp.log(left)
    apart = between - step_s * _beyond(s, i + 1) + ahead
    rest = jnp.where(ends, 1 - s, jnp.ones_like(s))
    closing = jnp.where(ends, jnp.log1p((s - t) / rest), 0.0)
    inside = step_t * ENTRIES * (t - s) + closing
    return jnp.where(i == j, inside, apart)


@functools.lru_cache
def alpha_bars(schedule: Discrete) -> Table:
  """The N values of alpha^2, float64, shifted and rescaled."""
  table = TABLES[schedule.table]()
  table = table / (schedule.snr_shift + (1 - schedule.snr_shift) * table)
  if schedule.zero_terminal:
    root = np.sqrt(table)
    root = (root - root[-1]) * (root[0] / (root[0] - root[-1]))
    table = root**2
  table.setflags(write=False)  # it is shared
  return table


def snrs(schedule: Discrete) -> Table:
  """The N signal-to-noise ratios, falling."""
  bars = alpha_bars(schedule)
  return bars / (1 - bars)


def time_between_entries(
  value: FrameTime, entries: Float[np.ndarray, 'n'], reach: float = 0.0
) -> FrameTime:
  """Time (n + 1) / N of a value in a falling table, linear between entries.

  Args:
    value: where to look.
    entries: the N values.
    reach: by how many entries the answer may leave the table, along its first
      or last line; 0 clamps.
  """
  index = _position(jnp.minimum(value, _MOST_VALUE), entries, reach)
  return jnp.maximum(index + 1, 0.0) / len(entries)


def _position(value, table, reach):
  """Real-valued index of a value in a falling table."""
  last = len(table) - 1
  low = jnp.asarray(table[:-1], value.dtype)
  step = jnp.asarray(-np.diff(table), value.dtype)
  n = jnp.clip(jnp.searchsorted(-low, -value) - 1, 0, last - 1)
  index = n.astype(value.dtype) + (low[n] - value) / step[n]
  return jnp.clip(index, -reach, last + reach)


def _index(t):
  """Of the segment that t stands in; T stands in the last."""
  n = jnp.floor(t * ENTRIES).astype(jnp.int32)
  return jnp.clip(n, 0, ENTRIES - 1)


def _beyond(t, n):
  """Entries from grid point n to t, exact beside it: n / N is no float."""
  high, low = _split(np.arange(ENTRIES + 1) / ENTRIES, n, t.dtype)
  return (t - high - low) * ENTRIES


def _split(table, n, dtype):
  """Entry n as a sum of two floats, which differences may cancel."""
  high = np.asarray(table, dtype)
  low = np.asarray(table - high, dtype)
  return jnp.asarray(high)[n], jnp.asarray(low)[n]


@functools.lru_cache
def _log_alphas(schedule):
  """Natural log of alpha at t = 0, 1/N, ..., 1."""
  with np.errstate(divide='ignore'):
    return 0.5 * np.log(np.concatenate([[1.0], alpha_bars(schedule)]))


def linear() -> Table:
  """Beta even from 1e-4 to 0.02 (Ho et al. 2020; Latte, FVDM)."""
  return np.cumprod(1 - np.linspace(1e-4, 0.02, ENTRIES))


def scaled_linear() -> Table:
  """Root of beta even from 0.00085 to 0.012's (Stable Diffusion, CogVideoX)."""
  return np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, ENTRIES) ** 2)


def cosine() -> Table:
  """Squared cosine, beta at most 0.999 (Nichol & Dhariwal 2021, Eq. 17)."""
  turn = (np.arange(ENTRIES + 1) / ENTRIES + 0.008) / 1.008
  squared = np.cos(turn * np.pi / 2) ** 2
  return np.cumprod(1 - np.minimum(1 - squared[1:] / squared[:-1], 0.999))


def even(entries: int, steps: int) -> Indices:
  """From the first entry to the last, rounded (Latte's respacing 'N')."""
  if steps == 1:
    return np.zeros(1, int)
  return np.round(np.arange(steps) * ((entries - 1) / (steps - 1))).astype(int)


def strided(entries: int, steps: int) -> Indices:
  """Every k-th entry from the first (Latte's respacing 'ddimN').

  Raises:
    ValueError: no whole stride gives so many steps.
  """
  for stride in range(1, entries):
    if len(range(0, entries, stride)) == steps:
      return np.arange(0, entries, stride)
  raise ValueError(
    f'no whole stride takes {steps} steps over {entries} entries; give a '
    f'divisor of {entries}, or another spacing'
  )


def leading(entries: int, steps: int) -> Indices:
  """Every k-th entry from the second (VideoCrafter's 'uniform').

  Raises:
    ValueError: the last step would stand behind the last entry.
  """
  indices = np.arange(steps) * (entries // steps) + 1
  if indices[-1] >= entries:
    raise ValueError(
      f'leading spacing of {steps} steps ends behind {entries} entries; take '
      f'fewer steps, or trailing'
    )
  return indices


def trailing(entries: int, steps: int) -> Indices:
  """Back from the last entry in equal steps (CogVideoX, zero terminal SNR)."""
  back = np.round(np.arange(entries, 0, -entries / steps))[:steps]
  return back[::-1].astype(int) - 1


TABLES = {'linear': linear, 'scaled_linear': scaled_linear, 'cosine': cosine}
SPACINGS = {
  'even': even,
  'strided': strided,
  'leading': leading,
  'trailing': trailing,
}
