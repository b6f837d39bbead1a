"""Metrics of a run: TensorBoard events, and one line of JSON a step.

TensorBoard, and Weights & Biases where it is asked for, get means over a window
(`clu.metrics`); the lines of `metrics.jsonl` are every step's own numbers,
printed so that they read back bit for bit, and the same in every rerun.  What
no rerun repeats, times and memory, stands in `performance.jsonl`, one line a
window.  `clock.jsonl` tells of all sittings, those of lost steps among them:
`goodput` reads it.

Strict JSON has no word for what is not finite: such numbers are the strings
'nan', 'inf' and '-inf', which `read` gives back as numbers.

Of a workdir in a bucket the files are kept on this machine and brought there
once a minute, and before every checkpoint.

A disk with no room ends no run here, since what a run does about that is told
by its saves: lines wait for room, in memory; TensorBoard goes without.
"""

import contextlib
import importlib
import io
import json
import math
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import einops
import jax
import numpy as np
import psutil
from absl import logging
from clu import metrics as clu_metrics
from etils import epath
from PIL import Image
from tensorboardX import event_file_writer
from tensorboardX.proto import event_pb2, summary_pb2

from framebridge_jax import files
from framebridge_jax.arrays import Pixels

_NON_FINITE = {'nan': math.nan, 'inf': math.inf, '-inf': -math.inf}
STEPS = 'metrics.jsonl'
_WINDOWS = 'performance.jsonl'
_SCORES = 'validation.jsonl'
CLOCK = 'clock.jsonl'
_RUN_ID = 'wandb_id'


class Logger:
  """Writes a run's metrics under its workdir.

  Lines of steps at or after `first_step` are dropped at the start: a resumed
  run takes those steps again, and the file reads as if it had never stopped.

  Args:
    workdir: of the run.
    first_step: the first step that will be written.
    wandb: project at Weights & Biases, '' for none.  A resumed run goes on as
      the same run there, whose id stands in the workdir.

  Raises:
    ValueError: `wandb` names a project and the package is not installed.
      Nothing has been written then.
  """

  def __init__(
    self, workdir: epath.PathLike, *, first_step: int, wandb: str = ''
  ):
    remote = _import_wandb(wandb) if wandb else None
    epath.Path(workdir).mkdir(parents=True, exist_ok=True)
    self._outbox = files.Outbox(workdir)
    for name in (STEPS, _WINDOWS, _SCORES, CLOCK, _RUN_ID):
      self._outbox.fetch(name)
    folder = self._outbox.folder
    self._steps = _Lines(folder / STEPS, first_step)
    self._windows = _Lines(folder / _WINDOWS, first_step)
    self._scores = _Lines(folder / _SCORES, first_step)
    self._clock = _Lines(folder / CLOCK, math.inf)
    born = psutil.Process().create_time()
    self._note('born', first_step, time=born)
    self._board = _Board(folder / 'events', first_step)
    self._remote = _Remote(remote, wandb, folder) if remote else None

  def __enter__(self) -> 'Logger':
    return self

  def __exit__(self, *exception) -> None:
    self._steps.close()
    self._windows.close()
    self._scores.close()
    self._note('end', 0)
    self._clock.close()
    self._board.close()
    if self._remote:
      self._remote.finish(failed=exception[0] is not None)
    self._outbox.close()

  def bring(self, *, now: bool = False) -> None:
    """Takes the files to a workdir in a bucket, if it is time or `now`."""
    self._outbox.bring(now=now)

  def write(
    self,
    steps: Sequence[int],
    scalars: Sequence[Mapping[str, float]],
    window: Mapping[str, float],
    *,
    seconds: float = 0.0,
    fields: Sequence[Mapping[str, float | int | str]] = (),
    shown: Mapping[str, float] | None = None,
  ) -> None:
    """Records a window of steps.

    Args:
      steps: their numbers, in order.
      scalars: each step's numbers, of the same names in all; they go to its
        line, and their means to the boards.
      window: numbers that no rerun repeats; they go to the boards and, as one
        line with the last step, to `performance.jsonl`.
      seconds: that the steps took, waits among them.
      fields: what else stands in each step's line.
      shown: numbers of the window for the boards alone.
    """
    more = fields or [{}] * len(steps)
    for step, values, fields_ in zip(steps, scalars, more, strict=True):
      self._steps.write({'step': step, **values, **fields_})
    self._steps.flush()
    self._note(
      'steps',
      steps[-1],
      steps=len(steps),
      seconds=seconds,
      input=window.get('input_seconds', 0.0),
      checkpoint=window.get('checkpoint_seconds', 0.0),
    )
    if window:
      self._windows.write({'step': steps[-1], **window})
      self._windows.flush()
    self._show({**means(scalars), **(shown or {}), **window}, steps[-1])

  def write_scores(self, scores: Mapping[str, float], *, step: int) -> None:
    """Records what a look at the run gave: `validation.jsonl` and boards."""
    self._scores.write({'step': step, **scores})
    self._scores.flush()
    self._show(scores, step)

  def _note(self, kind, step, **more):
    self._clock.write({'kind': kind, 'step': step, 'time': time.time()} | more)
    self._clock.flush()

  def _show(self, numbers, step):
    self._board.show(
      summary_pb2.Summary(
        value=[
          summary_pb2.Summary.Value(tag=name, simple_value=value)
          for name, value in numbers.items()
        ]
      ),
      step,
    )
    if self._remote:
      self._remote.log(numbers, step)
    self.bring()

  def rewind(self, first_step: int) -> None:
    """Drops the lines of steps at or after `first_step`: they come again.

    TensorBoard is told to forget them.  Weights & Biases takes nothing back:
    there both passes stay, the second over the first.
    """
    self._steps.rewind(first_step)
    self._windows.rewind(first_step)
    self._scores.rewind(first_step)
    self._note('back', first_step)
    self._board.forget(first_step)

  def write_clip(self, name: str, clip: Pixels, *, fps: int, step: int) -> None:
    """Shows clips [b, f, h, w, c] side by side as a moving picture."""
    rows = einops.rearrange(np.asarray(clip), 'b f h w c -> f h (b w) c')
    frames = [Image.fromarray(row) for row in rows]
    buffer = io.BytesIO()
    frames[0].save(
      buffer,
      'gif',
      save_all=True,
      append_images=frames[1:],
      duration=round(1000 / fps),
      loop=0,
    )
    image = summary_pb2.Summary.Image(
      height=frames[0].height,
      width=frames[0].width,
      colorspace=3,
      encoded_image_string=buffer.getvalue(),
    )
    summary = summary_pb2.Summary(
      value=[summary_pb2.Summary.Value(tag=name, image=image)]
    )
    self._board.show(summary, step)
    if self._remote:
      self._remote.log_gif(name, buffer.getvalue(), step)


class _Lines:
  """A file of JSON lines in the order of their steps."""

  def __init__(self, path, first_step):
    self._path = path
    self._waiting = b''
    self._told = False
    self._open(first_step)

  def _open(self, first_step):
    _truncate(self._path, first_step)
    # Without a buffer it is known how many bytes a full disk took.
    self._file = self._path.open('ab', buffering=0)

  def write(self, line):
    self._waiting += (_dumps(line) + '\n').encode()

  def flush(self):
    try:
      while self._waiting:
        self._waiting = self._waiting[self._file.write(self._waiting) :]
      self._told = False
    except OSError as error:
      if not self._told:
        logging.warning(
          '%s cannot be written (%s); its lines wait', self._path, error
        )
      self._told = True

  def close(self):
    self.flush()
    self._file.close()
    if self._waiting:
      logging.error('lines are lost of %s: they had no room', self._path)

  def rewind(self, first_step):
    self.close()
    self._open(first_step)


class _Board:
  """Events for TensorBoard.

  Written here and now: the thread of the package's own `SummaryWriter` dies of
  a full disk, after which it takes ten events more and then hangs its caller.
  """

  def __init__(self, folder, first_step):
    folder.mkdir(exist_ok=True)
    self._folder = folder
    self._writer = None
    self._told = False
    self.forget(first_step)

  def forget(self, first_step):
    """Has TensorBoard drop what it was shown of that step and later ones."""
    start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    self._write(event_pb2.Event(step=first_step, session_log=start))

  def show(self, summary, step):
    self._write(event_pb2.Event(step=step, summary=summary))

  def close(self):
    with contextlib.suppress(OSError):
      if self._writer:
        self._writer.close()

  def _write(self, event):
    event.wall_time = time.time()
    try:
      if not self._writer:
        self._writer = event_file_writer.EventsWriter(
          str(self._folder / 'events'),
          # Names go by the second, within which a run may start twice, and
          # TensorBoard reads in the order of names.
          filename_suffix=f'.{time.time_ns() % 10**9:09}',
        )
      self._writer.write_event(event)
      self._writer.flush()
      self._told = False
    except OSError as error:
      if not self._told:
        logging.warning(
          'TensorBoard goes without step %s and on, until %s can be written '
          '(%s)',
          event.step,
          self._folder,
          error,
        )
      self._told = True
      # It may end in half an event, behind which none would be read.
      self.close()
      self._writer = None


class _Remote:
  """The run at Weights & Biases."""

  def __init__(self, wandb, project, workdir):
    self._wandb = wandb
    self._run = wandb.init(
      project=project, id=_run_id(workdir), resume='allow', dir=str(workdir)
    )
    # Its own step refuses to go back, which a resumed run has to.
    self._run.define_metric('*', step_metric='step')

  def log(self, values, step):
    self._run.log({**values, 'step': step})

  def log_gif(self, name, gif, step):
    self.log({name: self._wandb.Video(io.BytesIO(gif), format='gif')}, step)

  def finish(self, *, failed):
    self._run.finish(exit_code=int(failed))


def means(scalars: Sequence[Mapping[str, float]]) -> dict[str, float]:
  """Mean of each scalar over the steps of a window that have it."""
  names = dict.fromkeys(name for values in scalars for name in values)
  # A `Collection` of them would want names that Python can speak.  clu promotes
  # dtypes by itself, which strict promotion would refuse.
  with jax.numpy_dtype_promotion('standard'):
    return {
      name: float(
        clu_metrics.Average.from_model_output(
          np.array([x[name] for x in scalars if name in x], np.float32)
        ).compute()
      )
      for name in names
    }


def read(path: epath.PathLike) -> list[dict[str, Any]]:
  """A run's JSON lines; a last line cut short by a kill is left out.

  Raises:
    ValueError: another line cannot be read; the message gives its number.
  """
  return [values for _, values in _parsed(path)]


def _parsed(path):
  """Whole lines with what they say."""
  for number, line in enumerate(_whole_lines(path), start=1):
    try:
      yield line, _loads(line)
    except json.JSONDecodeError as error:
      raise ValueError(
        f'{path}, line {number}, is no JSON ({error.msg}); the file is '
        f'damaged: bring a copy back, or cut it off before that line'
      ) from None


def _whole_lines(path):
  path = epath.Path(path)
  return path.read_text().split('\n')[:-1] if path.exists() else []


def _truncate(path, first_step):
  """Leaves the lines of steps before `first_step`, byte for byte."""
  kept = [line for line, x in _parsed(path) if x['step'] < first_step]
  with files.replacing(path) as part:
    part.write_text(''.join(line + '\n' for line in kept))


def _dumps(line):
  finite = {
    name: x if isinstance(x, str) or math.isfinite(x) else str(x)
    for name, x in line.items()
  }
  return json.dumps(finite, allow_nan=False)


def _loads(line):
  return {
    name: _NON_FINITE.get(x, x) if isinstance(x, str) else x
    for name, x in json.loads(line).items()
  }


def _import_wandb(project):
  try:
    return importlib.import_module('wandb')
  except ImportError as error:
    raise ValueError(
      f'the project {project!r} at Weights & Biases is asked for, but the '
      f'package wandb cannot be imported ({error}); pip install wandb, or '
      f"ask for the project ''"
    ) from error


def _run_id(workdir):
  path = workdir / _RUN_ID
  if not path.exists():
    with files.replacing(path) as part:
      part.write_text(uuid.uuid4().hex)
  return path.read_text()
