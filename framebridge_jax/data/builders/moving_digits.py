"""Moving digits as a prepared data set: drawn once, read at random.

Nothing is downloaded.  A record holds a clip as one lossless PNG strip: at
32 x 32 pixels 1 kB on plain ground and 4 kB on textured, raw it has 48 kB.
"""

import dataclasses
import os
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

from framebridge_jax.data import clips, digit_world
from framebridge_jax.data.builders import preparing


@dataclasses.dataclass(eq=False, kw_only=True)
class Config(tfds.core.BuilderConfig):
  """Which clips a data set holds; made by `make_config`."""

  world: digit_world.World
  counts: dict[str, int]
  seed: int


def make_config(
  world: str, *, train: int = 8000, test: int = 1000, seed: int = 0
) -> Config:
  """Names a data set by all that decides its clips.

  The name is a part of the prepared directory, so that other parameters never
  read another data set by mistake.

  Raises:
    ValueError: The world is unknown, or a split is empty.
  """
  if world not in WORLDS:
    raise ValueError(f'unknown world {world!r}; known: {", ".join(WORLDS)}')
  if min(train, test) < 1:
    raise ValueError(
      f'train has {train} clips and test {test}; each needs at least 1'
    )
  return Config(
    name=f'{world}_{train}_{test}_seed{seed}',
    description=f'{train} training and {test} test clips of {world}.',
    world=WORLDS[world],
    counts={'train': train, 'test': test},
    seed=seed,
  )


def open_records(
  config: Config, split: str, *, data_dir: str | os.PathLike
) -> 'Records':
  """Prepares the data set unless that was done before, and opens a split.

  See `preparing.prepared`.
  """
  builder = preparing.prepared(
    lambda folder: MovingDigits(config=config, data_dir=folder), data_dir
  )
  return Records(builder.as_data_source(split), config.world.frames)


class Records:
  """Clips by number, see `sources.Records`, and their `scene`."""

  def __init__(self, rows, frames: int):
    self._rows = rows
    self._frames = frames

  def __len__(self) -> int:
    return len(self._rows)

  def __getitem__(self, index) -> dict:
    row = self._rows[index]
    return {
      'video': clips.Decoded(
        clips.decode_strip(row['clip'], frames=self._frames)
      ),
      'label': int(row['label']),
      'caption': '',
      'name': f'scene {row["scene"]}',
      'fps': 0.0,
      'scene': int(row['scene']),
    }


class MovingDigits(tfds.core.GeneratorBasedBuilder):
  """Clips of `digit_world`, in the order of their scenes."""

  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES = {'1.0.0': 'First release.'}

  def __init__(self, **kwargs):
    super().__init__(file_format='array_record', **kwargs)

  def _info(self):
    features = tfds.features.FeaturesDict(
      {
        'clip': tfds.features.Text(),  # carries any bytes, unchanged
        'label': tfds.features.ClassLabel(num_classes=digit_world.NUM_CLASSES),
        'scene': tfds.features.Scalar(np.int64),
      }
    )
    return tfds.core.DatasetInfo(
      builder=self, features=features, disable_shuffling=True
    )

  def _split_generators(self, dl_manager):
    del dl_manager
    counts = self.builder_config.counts
    return {split: self._generate_examples(split) for split in counts}

  def _generate_examples(self, split) -> Iterator[tuple[int, dict]]:
    config = self.builder_config
    for scene in range(config.counts[split]):
      clip, label = digit_world.make_clip(
        config.world, seed=config.seed, split=split, scene=scene
      )
      strip = clips.encode_strip(clip)
      yield scene, {'clip': strip, 'label': label, 'scene': scene}


WORLDS = {
  'plain32': digit_world.World(ground='plain', ink='white'),
  'textured32': digit_world.World(),
  'textured64': digit_world.World(size=64),
}
