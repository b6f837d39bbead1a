"""The clips of a protocol: real side, floor, and what samples are given.

Real clips are put in an order that a fixed seed decides.  The first ones are
the real side; those behind them are the floor, and their first frames are what
a system is given: the floor is then what a perfect system would score.  Where
too few are left, samples are given the frames of the real side itself, and the
floor is one half of it against the other.
"""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from absl import logging

from framebridge_jax.data import clips, sources, video_io
from framebridge_jax.evaluation import measures, protocols

_SEED = 0  # of order and windows; another would be another protocol


class Given(NamedTuple):
  """What one sample is made from.

  Attributes:
    name: of the sample.
    image: its first frame.
    truth: the real clip that the image is of.
    label: its class.
    caption: its caption, or the name of its class.
  """

  name: str
  image: measures.Picture
  truth: measures.Video
  label: int
  caption: str


class Layout(NamedTuple):
  """Numbers of real clips by their use.

  Attributes:
    real: of the real side.
    floor: of the floor.
    against: of what the floor is held against.
    given: of those whose first frames samples are made from.
  """

  real: np.ndarray
  floor: np.ndarray
  against: np.ndarray
  given: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Reader:
  """Reads clips of a split as a protocol says.

  Attributes:
    source: the split.
    protocol: the protocol.
    share: which host this is, of how many; each reads some of the clips.
  """

  source: sources.Source
  protocol: protocols.Protocol
  share: tuple[int, int] = (0, 1)

  def clips(self, numbers: np.ndarray) -> Iterator[measures.Clip]:
    """This host's share of some clips, with their own first frames as given.

    Clips that cannot be decoded are named and left out.
    """
    for own in self.given(numbers):
      yield measures.Clip(
        name=own.name,
        video=own.truth,
        image=own.image,
        truth=own.truth,
        caption=own.caption,
        label=own.label,
      )

  def copies(self, numbers: np.ndarray) -> Iterator[measures.Clip]:
    """As `clips`, each made of its first frame alone."""
    for clip in self.clips(numbers):
      still = np.repeat(clip.video[:1], len(clip.video), axis=0)
      yield dataclasses.replace(clip, video=still)

  def given(self, numbers: np.ndarray) -> Iterator[Given]:
    """What samples of these clips are made from, of this host's share."""
    host, hosts = self.share
    for number in numbers[host::hosts].tolist():
      own = self.read(number)
      if own is not None:
        yield own

  def named(self, name: str) -> Given | None:
    """What the sample of this name is made from; None for names of others."""
    if not (name.isdecimal() and int(name) < len(self.source.records)):
      return None
    return self.read(int(name))

  def whole(self) -> 'Reader':
    """The same, of which this host reads every clip."""
    return dataclasses.replace(self, share=(0, 1))

  def read(self, number: int) -> Given | None:
    """One clip; None, and a warning, where it cannot be decoded."""
    record = self.source.records[number]
    rng = np.random.default_rng([_SEED, number])
    video = record['video']
    window = clips.window(
      len(video),
      frames=self.protocol.frames,
      stride=self.protocol.stride,
      rng=rng,
    )
    try:
      pixels = video.read(window, self.protocol.size)
    except video_io.VideoError as error:
      logging.warning('Left out: %s', error)
      return None
    name = self.source.class_names[record['label']]
    caption = record['caption'] if self.protocol.text == 'caption' else name
    return Given(
      name_of(number), pixels[0], pixels, int(record['label']), caption
    )

  @property
  def fps(self) -> float:
    """Frames a second of a window; 0 where it is not known."""
    return float(self.source.records[0]['fps']) / self.protocol.stride


def name_of(number: int) -> str:
  """What the sample of a real clip is called."""
  return f'{number:06}'


def lay_out(total: int, *, real: int, samples: int) -> Layout:
  """Puts a protocol's real clips to use; see the module.

  Args:
    total: real clips that there are.
    real: wanted on the real side; 0: all.
    samples: that are scored; 0: one for each clip of the real side.

  Raises:
    ValueError: there are too few real clips.
  """
  order = np.random.default_rng(_SEED).permutation(total)
  real = real or total
  if real > total or real < 2:
    raise ValueError(
      f'the real side has {total} clips, the protocol wants {real}; set '
      f'--config.real to a number that there is, and compare with nothing else'
    )
  ours = order[:real]
  samples = samples or real
  others = order[real : real + samples]
  if len(others) == samples:
    return Layout(ours, others, ours, others)
  half = min(real // 2, samples)
  if half < 2:
    raise ValueError(
      f'{total} real clips leave {half} for the floor; want at least 4'
    )
  if samples > real:
    raise ValueError(
      f'{samples} samples want as many first frames; there are {real}'
    )
  return Layout(ours, ours[:half], ours[half:], ours[:samples])


def futures_of(source: sources.Source) -> tuple[int, int]:
  """Scenes of a split, and true futures of each; they follow each other.

  Raises:
    ValueError: it has no scenes, or they have different numbers of futures.
  """
  scenes = []
  for number in range(len(source.records)):
    record = source.records[number]
    if 'scene' not in record:
      raise ValueError(
        'the split holds one future of each first frame; scores of several '
        'want a set such as physics_motion, or --config.several=0'
      )
    scenes.append(record['scene'])
  counts = [len(list(group)) for _, group in itertools.groupby(scenes)]
  if len(set(counts)) != 1:
    raise ValueError(
      f'scenes have {min(counts)} to {max(counts)} futures, want as many each'
    )
  return len(counts), counts[0]
