"""Physics in motion as a prepared data set: rendered once, read at random.

Nothing is downloaded.  Ten classes, one a kind of motion; each clip has a look
of its own.  Split `multi` holds several true futures of each first frame, to
score what a model believes possible.  A record holds a clip as one lossless
PNG strip: 13 kB at 32 x 32 pixels, 39 kB at 64 x 64.

Only preparing needs MuJoCo and OpenGL.  The package carries a sample of 20
clips for tests and a first look.
"""

import dataclasses
import functools
import os
import pathlib
import tempfile
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

from framebridge_jax.data import clips
from framebridge_jax.data.builders import (
  physics_pool,
  physics_render,
  physics_scenes,
  preparing,
)

CLASS_NAMES = physics_scenes.CLASS_NAMES
SAMPLE_FILE = (
  pathlib.Path(__file__).parents[2] / 'assets' / 'physics_motion.npz'
)

_SMALLEST = 16


@dataclasses.dataclass(eq=False, kw_only=True)
class Config(tfds.core.BuilderConfig):
  """Which clips a data set holds; made by `make_config`.

  `counts` are scenes, and futures of each, by split.
  """

  size: int
  frames: int
  counts: dict[str, tuple[int, int]]
  seed: int


def make_config(
  *,
  size: int = 64,
  frames: int = 16,
  train: int = 8000,
  test: int = 1000,
  scenes: int = 64,
  futures: int = 16,
  seed: int = 0,
) -> Config:
  """Names a data set by all that decides its clips.

  The name is a part of the prepared directory, so that other parameters never
  read another data set by mistake.

  Args:
    size: Side of the frames in pixels.
    frames: Frames of a clip, 0.06 s apart.
    train: Clips for training, each of another scene.
    test: Clips of further scenes.
    scenes: Further scenes again, of `multi`.
    futures: Clips of each of those, with equal first frames.
    seed: Decides all scenes and futures.

  Raises:
    ValueError: A number is too small.
  """
  least = {'size': (size, _SMALLEST), 'frames': (frames, 2), 'seed': (seed, 0)}
  counts = {'train': train, 'test': test, 'scenes': scenes, 'futures': futures}
  least |= {name: (count, 1) for name, count in counts.items()}
  for name, (number, bound) in least.items():
    if number < bound:
      raise ValueError(f'{name} is {number}; it must be at least {bound}')
  return Config(
    name=f'{size}px_{frames}f_{train}_{test}_{scenes}x{futures}_seed{seed}',
    description=f'{train} training and {test} test clips, and {futures} '
    f'futures of each of {scenes} first frames.',
    size=size,
    frames=frames,
    counts={
      'train': (train, 1),
      'test': (test, 1),
      'multi': (scenes, futures),
    },
    seed=seed,
  )


def open_records(
  config: Config,
  split: str,
  *,
  data_dir: str | os.PathLike,
  workers: int | None = None,
) -> 'Records':
  """Prepares the data set unless that was done before, and opens a split.

  See `preparing.prepared`.

  Args:
    config: Made by `make_config`.
    split: `train`, `test` or `multi`.
    data_dir: Where prepared data sets are kept.
    workers: Processes that render, by default one a core.  Their number changes
      no clip.  They import the main module, which must therefore start nothing
      when imported.

  Raises:
    ValueError: The split is unknown.
    physics_render.RenderingError: It must be rendered, and cannot be here.
    physics_pool.WorkerError: A process that rendered was ended.
  """
  _check_split(split)
  workers = workers or os.cpu_count() or 1
  builder = preparing.prepared(
    lambda folder: PhysicsMotion(
      config=config, data_dir=folder, workers=workers
    ),
    data_dir,
  )
  return Records(builder.as_data_source(split), config.frames, split)


def open_sample(split: str) -> 'Sample':
  """Opens a split of the 20 clips that the package carries: those of SAMPLE."""
  _check_split(split)
  with np.load(SAMPLE_FILE, allow_pickle=False) as videos:
    return Sample(videos[split], split)


def write_sample(file: str | os.PathLike) -> None:
  """Renders what `open_sample` opens, as an array of clips a split."""
  videos = {}
  with tempfile.TemporaryDirectory() as folder:
    for split in SAMPLE.counts:
      records = open_records(SAMPLE, split, data_dir=folder)
      videos[split] = np.stack(
        [records[i]['video'].pixels for i in range(len(records))]
      )
  np.savez_compressed(file, **videos)


class Records:
  """Prepared clips by number, see `Records.__getitem__`."""

  class_names = CLASS_NAMES

  def __init__(self, rows, frames: int, split: str):
    self._rows = rows
    self._frames = frames
    self._split = split

  def __len__(self) -> int:
    return len(self._rows)

  def __getitem__(self, index) -> dict:
    """`video` (see `clips.Frames`), label, caption, name, fps, scene, future.

    Clips of one `scene` have the same first frame.
    """
    row = self._rows[index]
    pixels = clips.decode_strip(row['clip'], frames=self._frames)
    return _record(pixels, self._split, int(row['scene']), int(row['future']))


class Sample:
  """Clips at hand by number, as `Records` gives them."""

  class_names = CLASS_NAMES

  def __init__(self, videos: np.ndarray, split: str):
    self._videos = videos
    self._split = split

  def __len__(self) -> int:
    return len(self._videos)

  def __getitem__(self, index) -> dict:
    """A record, see `Records.__getitem__`."""
    scene, future = divmod(index, SAMPLE.counts[self._split][1])
    return _record(self._videos[index], self._split, scene, future)


def _record(pixels, split, scene, future):
  label = physics_scenes.class_of(scene)
  return {
    'video': clips.Decoded(pixels),
    'label': label,
    'caption': CLASS_NAMES[label],
    'name': f'{split}/{scene:05}/{future:03}',
    'fps': 1 / physics_render.SECONDS_A_FRAME,
    'scene': scene,
    'future': future,
  }


def _check_split(split):
  if split not in physics_scenes.SPLITS:
    raise ValueError(
      f'unknown split {split!r}; known: {", ".join(physics_scenes.SPLITS)}'
    )


class PhysicsMotion(tfds.core.GeneratorBasedBuilder):
  """Clips in the order of their scenes, and within a scene of their futures."""

  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES = {'1.0.0': 'First release.'}

  def __init__(self, *, workers: int = 1, **kwargs):
    self._workers = workers
    super().__init__(file_format='array_record', **kwargs)

  def _info(self):
    number = tfds.features.Scalar(np.int64)
    features = tfds.features.FeaturesDict(
      {
        'clip': tfds.features.Text(),  # carries any bytes, unchanged
        'label': tfds.features.ClassLabel(names=CLASS_NAMES),
        'scene': number,
        'future': number,
      }
    )
    return tfds.core.DatasetInfo(
      builder=self, features=features, disable_shuffling=True
    )

  def _split_generators(self, dl_manager):
    del dl_manager
    backend = physics_render.choose_backend()
    return {
      split: self._generate_examples(split, backend)
      for split in self.builder_config.counts
    }

  def _generate_examples(self, split, backend) -> Iterator[tuple[int, dict]]:
    scenes, futures = self.builder_config.counts[split]
    render = functools.partial(
      _render, self.builder_config, split, backend=backend
    )
    key = 0
    for scene, strips in enumerate(
      physics_pool.in_order(render, scenes, workers=self._workers)
    ):
      numbers = {'scene': scene, 'label': physics_scenes.class_of(scene)}
      for future, strip in enumerate(strips):
        yield key, {'clip': strip, 'future': future, **numbers}
        key += 1


def _render(config, split, scene, *, backend):
  """The clips of a scene, encoded."""
  futures = config.counts[split][1]
  videos = physics_render.render_scene(
    physics_scenes.draw_scene(seed=config.seed, split=split, scene=scene),
    futures=futures,
    size=config.size,
    frames=config.frames,
    backend=backend,
  )
  return [clips.encode_strip(video) for video in videos]


SAMPLE = make_config(size=32, train=10, test=2, scenes=2, futures=4)
