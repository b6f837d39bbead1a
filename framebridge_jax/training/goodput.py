"""Where a run's time went, over all its sittings: goodput and its opposite.

Read from `clock.jsonl`, whose lines no restart takes back.  Its kinds:

  born   a process began, to train from `step` on
  steps  a window ended at `step`; `seconds` of training, of which `input` and
         `checkpoint` were waited for
  back   the run went back to before `step`
  end    the process closed its log

Times are of the wall clock; a clock that is set back counts as standing still.
"""

import collections
import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

Line = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Account:
  """Seconds of a run by what they went to; they add up to `wall`.

  Attributes:
    steps: steps that the run stands on.
    repeated: steps that were lost with the process, and taken again.
    start: from the birth of a process to its first window: imports, data,
      restoring, compiling.
    input: waited for the next batch.
    checkpoint: waited for a save.
    paused: between windows: saves, validation, clips for the board.
    down: nothing ran, or what ran left no line.
  """

  steps: float = 0.0
  repeated: float = 0.0
  start: float = 0.0
  input: float = 0.0
  checkpoint: float = 0.0
  paused: float = 0.0
  down: float = 0.0

  @property
  def wall(self) -> float:
    """From the first birth to the last line."""
    return sum(dataclasses.astuple(self))

  @property
  def goodput(self) -> float:
    """Share of `wall` that went to steps the run stands on."""
    return self.steps / self.wall if self.wall else 0.0

  def __str__(self) -> str:
    """Goodput, and what the rest went to."""
    rest = {
      field.name: getattr(self, field.name)
      for field in dataclasses.fields(self)
      if field.name != 'steps'
    }
    parts = ', '.join(
      f'{name} {seconds / self.wall:.1%}'
      for name, seconds in sorted(rest.items(), key=lambda x: -x[1])
      if seconds > 0.0005 * self.wall
    )
    return f'{self.goodput:.1%} of {self.wall:.0f} s' + (parts and f'; {parts}')


def account(lines: Iterable[Line]) -> Account:
  """Adds up the lines of a run's `clock.jsonl`, in their order."""
  found: collections.Counter[str] = collections.Counter()
  kept: list[_Window] = []
  started = True  # the process of the moment has ended a window
  now = None
  for line in lines:
    before, now = now, max(line['time'], now or 0.0)
    passed = now - before if before is not None else 0.0
    if line['kind'] == 'born':
      found['down'] += passed
      started = False
    elif line['kind'] == 'steps':
      window = _Window.of(line, at_most=passed)
      found['paused' if started else 'start'] += passed - window.seconds
      started = True
      kept.append(window)
    else:
      found['paused' if started else 'start'] += passed
    if line['kind'] in ('born', 'back'):
      left = [window.before(line['step']) for window in kept]
      found['repeated'] += _seconds(kept) - _seconds(left)
      kept = left
  for window in kept:
    found['steps'] += window.seconds - window.input - window.checkpoint
    found['input'] += window.input
    found['checkpoint'] += window.checkpoint
  return Account(**found)


def _seconds(windows):
  return sum(window.seconds for window in windows)


@dataclasses.dataclass(frozen=True)
class _Window:
  """A number of steps up to `last`, that took so long."""

  steps: float
  last: int
  seconds: float
  input: float
  checkpoint: float

  @classmethod
  def of(cls, line, at_most):
    return cls(
      line['steps'],
      line['step'],
      min(line['seconds'], at_most),
      line['input'],
      line['checkpoint'],
    )

  def before(self, step):
    """Of its steps those before a step, with their share of the time."""
    lost = min(max(self.last - step + 1, 0), self.steps)
    if not lost:
      return self
    share = 1 - lost / self.steps
    return _Window(
      self.steps - lost,
      step - 1,
      share * self.seconds,
      share * self.input,
      share * self.checkpoint,
    )
