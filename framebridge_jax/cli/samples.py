"""Samples to be scored: a run's own, or a folder of videos."""

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import ml_collections
from absl import logging
from etils import epath

from framebridge_jax import files, saved
from framebridge_jax.cli import bench as benches
from framebridge_jax.cli import given, own_samples, sample
from framebridge_jax.evaluation import measures, protocols, sample_folder, sides

# Samples of scenes have ids behind those of all others.
_SCENES_FROM = 10_000_000


@runtime_checkable
class Samples(Protocol):
  """Where samples come from.

  Attributes:
    name: of the method, for tables.
    tier: of a result, see `provenance.TIERS`.
    facts: what decides the samples.
    notes: in what they are not as the protocol says.
    names: of the samples, sorted.
  """

  name: str
  tier: str
  facts: dict[str, Any]
  notes: list[str]
  names: list[str]

  def clips(self) -> Iterator[measures.Clip]:
    """This host's share of the samples."""
    ...

  def seconds(self) -> float | None:
    """It took to draw one of them, if that is known."""
    ...

  def scenes(self, futures: int) -> Iterator[measures.Clip]:
    """So many samples of each first frame with several true futures.

    There are few: every host gets all of them.
    """
    ...


class Own:
  """Samples of the run in the workdir."""

  tier = 'T2'

  def __init__(self, bench: benches.Bench, seed: int):
    self._bench = bench
    self._sampler = own_samples.open_sampler(bench.config, bench.workdir, seed)
    self.name = bench.config.method or bench.workdir.name
    self.facts = self._sampler.facts
    self.notes = [*_class_notes(bench)]
    self.names = sorted(map(sides.name_of, bench.layout.given.tolist()))

  def clips(self) -> Iterator[measures.Clip]:
    """See `Samples`."""
    numbers = self._bench.layout.given.tolist()
    return self._sampler.clips(
      lambda i: self._bench.reader.read(numbers[i]),
      len(numbers),
      first_id=0,
      label_of=self._label,
    )

  def scenes(self, futures: int) -> Iterator[measures.Clip]:
    """See `Samples`."""
    firsts = given.first_of_scenes(self._bench)
    several = [
      own._replace(name=f'{own.name}-{k}')
      for own in firsts
      for k in range(futures)
    ]
    return self._sampler.every_clip(
      several.__getitem__,
      len(several),
      first_id=_SCENES_FROM,
      label_of=self._label,
    )

  def seconds(self) -> float | None:
    """See `Samples`."""
    return self._sampler.seconds()

  def _label(self, label):
    """The model's class for the protocol's; none where they do not agree."""
    classes = self._bench.config.model.classes
    if classes and _classes_differ(self._bench):
      return classes
    return label if classes else 0


class Videos:
  """A folder of videos, of any system."""

  tier = '-'

  def __init__(self, bench: benches.Bench, folder: sample_folder.Folder):
    self._bench = bench
    self._folder = folder
    self.name = bench.config.method or folder.folder.name
    self.facts = {'videos': str(folder.folder)}
    self.notes = []
    samples = bench.protocol.samples or len(bench.layout.given)
    self.names = sorted(folder.paths)[:samples]
    for doubt in folder.doubts(samples, bench.reader.fps):
      self._complain(doubt)

  def clips(self) -> Iterator[measures.Clip]:
    """See `Samples`."""
    reader = self._bench.reader
    return self._folder.clips(reader.named, self.names, reader.share)

  def scenes(self, futures: int) -> Iterator[measures.Clip]:
    """See `Samples`."""
    folder = sample_folder.open_folder(
      self._folder.folder / benches.MULTI,
      frames=self._folder.frames,
      size=self._folder.size,
    )
    known = {
      f'{own.name}-{k}': own
      for own in given.first_of_scenes(self._bench)
      for k in range(futures)
    }
    missing = sorted(known.keys() - folder.paths.keys())
    if missing:
      raise sample_folder.SampleError(
        f'{folder.folder} lacks {missing[0]}.mp4 and {len(missing) - 1} more: '
        f'{futures} videos are scored of each of the first frames that '
        f'--config.give writes; or leave these scores out with '
        f'--config.several=0'
      )
    return folder.clips(known.get, sorted(known), (0, 1))

  def seconds(self) -> float | None:
    """See `Samples`."""
    return None

  def _complain(self, doubt):
    if self._bench.config.strict:
      raise sample_folder.SampleError(
        f'{doubt}; --config.strict=False scores them all the same, and says so '
        f'beside the numbers'
      )
    logging.warning('%s', doubt)
    self.notes.append(doubt)


def judge(
  config: ml_collections.ConfigDict,
  workdir: epath.Path,
  protocol: protocols.Protocol,
) -> sample_folder.Folder | None:
  """Looks at what is to be scored, before data or networks are touched.

  Returns:
    The folder, or None for a run's own samples.

  Raises:
    ValueError: there are no samples, or they are those of the real side.
  """
  frames, size = protocol.frames, protocol.size
  if config.videos:
    folder = epath.Path(config.videos)
    if config.real_dir and _within(folder, epath.Path(config.real_dir)):
      raise sample_folder.SampleError(
        f'videos is {config.videos!r}, where the real clips are: they would be '
        f'scored against themselves; give the folder of the samples'
      )
    return sample_folder.open_folder(folder, frames=frames, size=size)
  saved.load_config(workdir)  # refuses a workdir without a run
  data = config.data
  if (data.frames, data.size) != (frames, size):
    raise ValueError(
      f'the run makes {data.frames} frames of {data.size} x {data.size}, the '
      f'protocol scores {frames} of {size} x {size}; score another run, or '
      f'write videos and score their folder with --config.videos'
    )
  return None


def shown(bench: benches.Bench, source: Samples) -> Iterator[measures.Clip]:
  """Clips, of which a few are written with their truth, for reports.

  These are the first by name, so that several methods show the same ones.
  """
  folder = bench.folder
  fps = round(bench.reader.fps) or bench.config.fps
  wanted = source.names[: bench.config.num_show]
  for clip in source.clips():
    if clip.name in wanted:
      sample.write(folder / 'samples', clip.name, clip.video, fps=fps)
      if clip.truth is not None:
        sample.write(folder / 'truth', clip.name, clip.truth, fps=fps)
    yield clip


def _within(folder, other):
  folder, other = files.absolute(folder), files.absolute(other)
  return folder == other or other in folder.parents


def _classes_differ(bench):
  return bench.config.model.classes != len(bench.reader.source.class_names)


def _class_notes(bench) -> Iterator[str]:
  classes = bench.config.model.classes
  if bench.protocol.text == 'caption':
    yield 'the run hears no captions'
  elif classes and _classes_differ(bench):
    yield (
      f'the run knows {classes} classes, the data set has '
      f'{len(bench.reader.source.class_names)}: no class was asked for'
    )
