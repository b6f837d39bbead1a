"""Samples in the layout of VBench-I2V, which its own command then scores.

Its list names a prompt and an image for each video, of which it wants five;
the files are called `PROMPT-K.mp4`.  Prompts about the camera stand for the
image of the prompt without it.
"""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import ml_collections
import numpy as np
from absl import logging
from etils import epath

from framebridge_jax import files, saved
from framebridge_jax.cli import animate, runs
from framebridge_jax.data import clips, images, video_io
from framebridge_jax.evaluation import provenance

NAME = 'vbench_i2v'
EACH = 5  # videos of a prompt


class Wanted(NamedTuple):
  """A video of the list."""

  name: str
  image: epath.Path
  number: int


def run(config: ml_collections.ConfigDict, workdir: epath.Path) -> None:
  """Writes `vbench_i2v/PROMPT-K.mp4`; those that are there stay.

  Raises:
    ValueError: the list or an image is missing, or the workdir holds no run.
  """
  saved.load_config(workdir)  # refuses a workdir without a run
  wanted = list(
    listed(epath.Path(config.vbench.info), epath.Path(config.vbench.images))
  )
  folder = runs.make_workdir(workdir / NAME)
  left = [one for one in wanted if not (folder / f'{one.name}.mp4').is_file()]
  logging.info('%d videos are wanted, %d are not there', len(wanted), len(left))
  animator = animate.open_animator(config, workdir)
  for start in range(0, len(left), config.batch_size):
    batch = left[start : start + config.batch_size]
    made = animator(
      np.stack([_first_frame(one.image, config.data.size) for one in batch]),
      np.full(len(batch), config.model.classes),  # no class
      np.array([one.number for one in batch]),
    )
    for one, clip in zip(batch, made, strict=True):
      video_io.write_mp4(folder / f'{one.name}.mp4', clip, config.fps)
    logging.info('Wrote up to %s', batch[-1].name)
  facts = {
    'seed': config.seed,
    'sample_ids': {one.name: one.number for one in wanted},
    'notes': ['the run hears no captions: only images were given'],
    **provenance.here(),
  }
  with files.replacing(workdir / f'{NAME}.json') as path:
    path.write_text(json.dumps(facts, indent=1) + '\n')
  logging.info('Wrote %s', folder)


def listed(info: epath.Path, folder: epath.Path) -> Iterator[Wanted]:
  """The videos of `vbench2_i2v_full_info.json`, numbered.

  Args:
    info: the list.
    folder: of the images, cropped to one aspect.

  Raises:
    ValueError: the list cannot be read, or an image is missing.
  """
  for number, entry in enumerate(_read(info)):
    prompt = entry['prompt_en']
    image = folder / (
      entry.get('image_name') or f'{prompt.partition(_CAMERA)[0]}.jpg'
    )
    if not image.is_file():
      raise ValueError(
        f'{image} is missing, which {info} names for {prompt!r}; set '
        f'--config.vbench.images to a folder of crop/, as crop/1-1'
      )
    for k in range(EACH):
      yield Wanted(f'{prompt}-{k}', image, EACH * number + k)


def _read(info) -> list[dict[str, Any]]:
  if not info.is_file():
    raise ValueError(
      f'vbench.info is {str(info)!r}; set it to vbench2_i2v_full_info.json of '
      f'VBench'
    )
  try:
    found = json.loads(info.read_text())
    if not all(isinstance(entry['prompt_en'], str) for entry in found):
      raise TypeError
  except (ValueError, TypeError, KeyError):
    raise ValueError(f'{info} is no list of prompts of VBench-I2V') from None
  return found


def _first_frame(path, size):
  return clips.resize_crop(images.read_image(path), size)[None]


_CAMERA = ', camera '
