"""A profiler trace of some steps of training, as a config asks for it."""

import re

import jax
from etils import epath

from framebridge_jax import files


class Window:
  """Traces the steps `start <= step < stop` into `workdir/profile`, once.

  A run that resumes inside begins there; one that ends inside, or goes back
  behind the start, stops the trace early.  The two ends wait for the device,
  so that the trace holds these steps' work whole and no other's.
  """

  def __init__(self, workdir: epath.PathLike, *, start: int, stop: int):
    self.steps = range(start, stop)
    self._workdir = workdir
    self._outbox: files.Outbox | None = None
    self._annotation: jax.profiler.StepTraceAnnotation | None = None
    self._tracing = self._traced = False

  def before(self, step: int) -> None:
    """To be called right before a step is dispatched."""
    if step not in self.steps:
      self.close()
    elif not self._traced:
      if not self._tracing:
        _wait()
        # The profiler writes to this machine's disk alone.
        self._outbox = files.Outbox(self._workdir)
        jax.profiler.start_trace(self._outbox.folder / 'profile')
        self._tracing = True
      # Gives the viewer the step's borders and number.
      annotation = jax.profiler.StepTraceAnnotation('train', step_num=step)
      annotation.__enter__()
      self._annotation = annotation

  def after(self, step: int) -> None:
    """To be called right after a step was dispatched."""
    if self._annotation is not None:
      self._annotation.__exit__(None, None, None)
      self._annotation = None
    if step + 1 not in self.steps:
      self.close()

  def close(self) -> None:
    """Ends the trace if there is one; may be called again."""
    if self._tracing:
      self._tracing, self._traced = False, True
      _wait()
      jax.profiler.stop_trace()
      if self._outbox:
        self._outbox.close()


def parse(text: str, workdir: epath.PathLike) -> Window | None:
  """The window of a text such as `100:105`; None of an empty one.

  Nothing is written yet.

  Raises:
    ValueError: the text is no such range.
  """
  if not text:
    return None
  match = re.fullmatch(r'(\d+):(\d+)', text)
  start, stop = map(int, match.groups()) if match else (0, 0)
  if not 1 <= start < stop:
    raise ValueError(
      f'profile_steps is {text!r}; give START:STOP in steps, which count from '
      f"1, STOP left out and greater than START, such as '100:105'; or '' "
      f'for no profile'
    )
  return Window(workdir, start=start, stop=stop)


def _wait():
  """Until all that was dispatched is done."""
  jax.block_until_ready(jax.live_arrays())
