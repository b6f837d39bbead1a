"""--mode=evaluate: animate held-out first frames and score the result."""

import datetime
import json
import os
import time

import ml_collections
import numpy as np
from absl import logging
from etils import epath

from framebridge_jax import build, check, files, saved
from framebridge_jax.cli import animate, evaluate_protocol, runs, sample, vbench
from framebridge_jax.data import sources, video_io
from framebridge_jax.evaluation import digits, motion, protocols
from framebridge_jax.models import digit_reader
from framebridge_jax.porting import weights
from framebridge_jax.report import sheets
from framebridge_jax.training import hosts

# A reader that misreads real frames says nothing about generated ones.
_LEAST_READ_REAL = 0.95


def run(config: ml_collections.ConfigDict, workdir: epath.PathLike) -> None:
  """Scores by `config.protocol`; without one, looks at held-out clips.

  Several processes score by a protocol together.

  Raises:
    ValueError: what is to be scored cannot be used.
  """
  workdir = epath.Path(workdir)
  check.check_mode(config, 'evaluate')
  place = hosts.place(os.environ)
  alone = config.give or config.protocol in ('', vbench.NAME)
  if place and alone:
    raise ValueError(
      f'this is one of {place.count} processes; give={config.give!r} and '
      f'protocol={config.protocol!r} want a single one'
    )
  with hosts.joined(
    place,
    wait=config.cluster.wait_seconds,
    heartbeat=config.cluster.heartbeat_seconds,
  ):
    _run(config, workdir)


def _run(config, workdir):
  if config.protocol == vbench.NAME:
    vbench.run(config, workdir)
    return
  if config.protocol:
    evaluate_protocol.run(config, workdir)
    return
  for key in ('videos', 'give', 'ladder'):
    if config[key]:
      raise ValueError(
        f'{key} is {config[key]!r} and protocol is empty; name one of '
        f'{", ".join(protocols.NAMES)}'
      )
  saved.load_config(workdir)  # refuses a workdir without a run
  _look_at_held_out(config, workdir)


def _look_at_held_out(config, workdir):
  """Writes scores, true clips and the contact sheet under `evaluation/`.

  Our clips go to `samples/`.  With `config.weights` everything goes to
  `evaluation_NAME/`: the run's own scores and samples stay.
  """
  truth, labels = held_out(config, workdir)
  animator = animate.open_animator(config, workdir)
  start = time.perf_counter()
  futures = _futures(config, animator, truth, labels)
  seconds = time.perf_counter() - start
  scores = {
    **motion.score_motion(truth, futures)._asdict(),
    **motion.score_likeness(truth, futures)._asdict(),
    **_reading(config, truth, futures, labels),
    'num_clips': len(truth),
    'num_futures': config.num_futures,
    'num_steps': config.num_steps,
    'sampler': config.sampler,
    'grid': config.grid,
    'guidance': config.guidance,
    'seed': config.seed,
    'weights': config.weights,
    'seconds': round(seconds, 1),
    'device': runs.device_name(),
    'date': datetime.date.today().isoformat(),
  }
  folder = workdir / folder_name(config.weights)
  folder.mkdir(exist_ok=True)
  ours = folder / 'samples' if config.weights else workdir / 'samples'
  _write_clips(config, folder, ours, truth, futures, labels)
  with files.replacing(folder / 'scores.json') as path:
    path.write_text(json.dumps(scores, indent=2) + '\n')
  for name, value in scores.items():
    logging.info('%s: %s', name, value)


def folder_name(weights_name: str) -> str:
  """Where the scores of a run, or of a weight file, stand in the workdir."""
  stem = epath.Path(weights_name).stem
  return f'evaluation_{stem}' if stem else 'evaluation'


def held_out(
  config: ml_collections.ConfigDict, workdir: epath.PathLike
) -> tuple[np.ndarray, np.ndarray]:
  """The first frames' true clips: the start of each test record."""
  records = build.make_source(config, 'test', workdir).records
  times = range(0, config.data.frames * config.data.stride, config.data.stride)
  clips, labels = [], []
  for i in range(len(records)):
    if len(clips) == config.num_clips:
      break
    record = records[i]
    try:
      clips.append(record['video'].read(times, config.data.size))
    except video_io.VideoError as error:
      logging.warning('Left out: %s', error)
    else:
      labels.append(record['label'])
  if not clips:
    raise ValueError(f'no clip of {config.dataset} can be decoded')
  return np.stack(clips), np.array(labels)


def _futures(config, animator, truth, labels):
  """Clips [n, k, f, h, w, c]; sample i k + j is future j of clip i."""
  k = config.num_futures
  images = np.repeat(truth[:, :1], k, axis=0)
  labels = np.repeat(labels, k)
  size = config.batch_size
  made = []
  for i in range(0, len(images), size):
    part = slice(i, i + size)
    ids = np.arange(len(images))[part]
    made.append(animator(images[part], labels[part], ids))
    logging.info('Animated %d of %d', i + len(ids), len(images))
  return np.concatenate(made).reshape(len(truth), k, *truth.shape[1:])


def _reading(config, truth, futures, labels):
  """Share of last frames whose digit is read right, ours and real."""
  if [row.name for row in sources.parse(config.dataset)] != ['moving_digits']:
    return {}
  variables = weights.load(build.ASSETS / 'digit_reader.safetensors').params
  reader = digit_reader.DigitReader()

  def share(frames, labels):
    seen = digits.read_digits(reader, variables, frames)
    return float(np.mean(seen == labels))

  real = share(truth[:, -1], labels)
  if real < _LEAST_READ_REAL:
    logging.warning(
      'The digit reader reads only %.0f %% of real frames of this data set '
      '(trained on another world?); its score of ours is left out',
      100 * real,
    )
    return {'read_real': real}
  last = futures[:, :, -1]
  return {
    'read_real': real,
    'read_ours': share(
      last.reshape(-1, *last.shape[2:]), np.repeat(labels, last.shape[1])
    ),
  }


def _write_clips(config, folder, ours, truth, futures, labels):
  shown = range(min(config.num_show, len(truth)))
  for i in shown:
    stem = f'heldout_{i}_class{labels[i]}'
    sample.write(ours, stem, futures[i, 0], fps=config.fps)
    sample.write(folder / 'truth', stem, truth[i], fps=config.fps)
  frames = truth.shape[1]
  times = sorted({frames * q // 4 - 1 for q in (1, 2, 3, 4)} - {-1, 0})
  rows = [
    sheets.Row(
      label=f'class {labels[i]}',
      given=truth[i, 0],
      ours=futures[i, 0],
      truth=truth[i],
    )
    for i in shown
  ]
  sheets.write_png(
    folder / 'contact_sheet.png',
    sheets.contact_sheet(rows, times=times, zoom=2),
  )
