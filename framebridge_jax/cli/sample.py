"""--mode=sample: make clips, one by one or many from a file."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import ml_collections
from absl import logging
from etils import epath

from framebridge_jax import (
  arguments,
  check,
  sampling,
  saved,
  wishes,
)
from framebridge_jax.cli import fitting, lines, outputs, shares
from framebridge_jax.data import clips
from framebridge_jax.report import video as videos
from framebridge_jax.tasks import long_video, plans
from framebridge_jax.training import sharding

FOLDER = 'samples'
UNTIL_STOPPED = -1


class _Job(NamedTuple):
  """A clip that was checked, and the name of its files."""

  stem: str
  order: wishes.Order
  long: wishes.Long | None
  length: int

  @property
  def alike(self):
    """Jobs for which this is equal can be one batch."""
    if self.long:
      return (self.stem,)
    return self.order.task, self.order.settings


def run(config: ml_collections.ConfigDict, workdir: epath.PathLike) -> None:
  """Writes `samples/NAME.{mp4,gif,png,json}`, numbered if there are several.

  What is there already, made of the same, is left alone.  Several hosts take
  each so many-th clip.

  Raises:
    ValueError: something is wrong; of several clips, after all that could be
      made was made.
  """
  check.check_mode(config, 'sample')
  wanted = lines.read(config)
  desk = open_desk(config, workdir)
  folder = epath.Path(workdir) / FOLDER
  jobs, bad = _take_all(desk, wanted)
  host, hosts = shares.of(config)
  jobs = jobs[host::hosts]
  left = [
    job
    for job in jobs
    if not outputs.is_there(folder, job.stem, job.order.facts)
  ]
  if len(left) < len(jobs):
    logging.info('%d of %d are there already', len(jobs) - len(left), len(jobs))
  for _, group in itertools.groupby(left, lambda job: job.alike):
    for batch in _batches(list(group), config.batch_size):
      _make(desk, batch, folder)
  _tell(bad, len(wanted))


def _take_all(desk, wanted):
  """Jobs, and the lines of which there can be none."""
  jobs, bad = [], []
  for line in wanted:
    try:
      if isinstance(line, lines.Bad):
        raise ValueError(line.error)
      jobs += _take(desk, line)
    except ValueError as error:
      if len(wanted) == 1:
        raise
      logging.error('%s: %s', line.place, error)
      bad.append(f'{line.place}: {error}')
  return jobs, bad


def _tell(bad, count):
  """Ends with what could not be made.

  Raises:
    ValueError: there is something.
  """
  if bad:
    raise ValueError(
      f'{len(bad)} of {count} could not be made and the others are there: '
      f'{"; ".join(bad)}'
    )


def _batches(jobs, size) -> Iterator[list[_Job]]:
  for i in range(0, len(jobs), size):
    yield jobs[i : i + size]


def _make(desk, jobs, folder):
  """Makes a batch, or one long clip, and writes it."""
  (first, *_) = jobs
  if first.length == UNTIL_STOPPED:
    outputs.write_until_stopped(folder, first.stem, desk.fill_long(first.long))
  elif first.long:
    video = videos.join(desk.fill_long(first.long), first.length)
    outputs.write(folder, first.stem, video)
  else:
    made = desk.fill([job.order for job in jobs])
    for job, video in zip(jobs, made, strict=True):
      outputs.write(folder, job.stem, video)


def open_desk(
  config: ml_collections.ConfigDict, workdir: epath.PathLike
) -> wishes.Desk:
  """The model that a checked config of `sample` or `evaluate` names.

  Raises:
    ValueError: the run is of another job, or its codec has changed.
  """
  if config.job != 'denoiser':
    raise ValueError(
      f'{workdir} holds a run of job {config.job}; only a denoiser animates'
    )
  if config.model.get('text_width'):
    raise ValueError(
      f'the model in {workdir} hears text, which no mode that samples gives it '
      f'yet; train with model.text_width=0'
    )
  workdir = epath.Path(workdir)
  fitting.check_codec(config, workdir)
  # Of several hosts each makes clips of its own.
  mesh = sharding.make_mesh(dict(config.mesh), jax.local_devices())
  return wishes.open_desk(
    saved.of_run(config, workdir, sharding.replicated(mesh)),
    mesh,
    dtype=config.get('compute_dtype', ''),
    frames=config.get('frames', 0),
    size=config.get('size', 0),
  )


def write(folder: epath.PathLike, stem: str, clip: clips.Video, *, fps: int):
  """Writes a clip as mp4, gif and strip of frames."""
  outputs.write(epath.Path(folder), stem, videos.Video(frames=clip, fps=fps))


def _take(desk, line) -> list[_Job]:
  """The line's clips, each with a sample id of its own."""
  values = line.values
  settings = sampling.settings_of(values)
  jobs = []
  for i in range(values['count']):
    wish = wishes.Wish(line.given, values['label'], values['seed'], i)
    stem = line.name if values['count'] == 1 else f'{line.name}_{i}'
    long = None
    if values['length']:
      long = _take_long(desk, wish, settings, values)
      order = long.order
    else:
      order = desk.take(values['task'], wish, settings)
    jobs.append(_Job(stem, order, long, values['length']))
  return jobs


def _take_long(desk, wish, settings, values):
  row, options = arguments.parse_row(values['task'], plans.TASKS)
  del row
  handover = long_video.Handover(
    anchor=values['anchor'], match=values['match'], **options
  )
  rolling = values['task'].partition(':')[0] == 'rolling'
  return desk.take_long(
    wish, settings, handover, rolling=rolling, length=values['length']
  )
