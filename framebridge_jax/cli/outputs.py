"""Files of what was sampled, and whether they are there already."""

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from absl import logging
from etils import epath

from framebridge_jax.data import video_io
from framebridge_jax.report import video as videos
from framebridge_jax.training import signals

# Last: where the facts are, the clip is whole.
FORMATS = ('.mp4', '.gif', '.png')
_FACTS = '.json'
# What may differ between two clips that are one and the same.
_INCIDENTAL = ('date', 'device', 'versions', 'config', 'given_frames')


def write(folder: epath.Path, stem: str, video: videos.Video) -> None:
  """Writes a clip in all formats, and its facts."""
  folder.mkdir(parents=True, exist_ok=True)
  for suffix in FORMATS:
    video.write(folder / f'{stem}{suffix}')
  if video.facts:
    video.write_facts(folder / f'{stem}{_FACTS}')
  logging.info('Wrote %s/%s.{mp4,gif,png}', folder, stem)


def write_until_stopped(
  folder: epath.Path, stem: str, pieces: Iterator[videos.Video]
) -> None:
  """Writes an mp4 that grows until SIGTERM or Ctrl-C, and its facts."""
  folder.mkdir(parents=True, exist_ok=True)
  path = folder / f'{stem}.mp4'
  first = next(pieces)
  with (
    signals.Requests() as requests,
    video_io.writing_mp4(path, first.fps, zoom=first.zoom) as add,
  ):
    count = 0
    for piece in itertools.chain([first], pieces):
      add(piece.frames)
      count += len(piece)
      logging.info('%s has %d frames; Ctrl-C ends it', path, count)
      if requests.received is not None:
        break
  facts = {**first.facts, 'length': count}
  dataclasses.replace(first, facts=facts).write_facts(
    folder / f'{stem}{_FACTS}'
  )


def is_there(folder: epath.Path, stem: str, facts: Mapping[str, Any]) -> bool:
  """Whether all files are there, of a clip made of the same."""
  paths = [folder / f'{stem}{suffix}' for suffix in (*FORMATS, _FACTS)]
  if not all(path.exists() for path in paths):
    return False
  try:
    found = json.loads(paths[-1].read_text())
  except ValueError:
    return False
  return isinstance(found, dict) and digest(found) == digest(facts)


def digest(facts: Mapping[str, Any]) -> str:
  """Of what decides on the pixels of a clip."""
  kept = {
    name: value for name, value in facts.items() if name not in _INCIDENTAL
  }
  text = json.dumps(kept, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()
