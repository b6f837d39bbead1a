"""What is measured of each clip alone, and tables of it.

Every score of this package is a statistic of numbers that belong to one clip:
the features of a network, or a distance from the image it was given.  They are
kept by the clip's name and put in the order of names before anything is summed,
so that neither the order of files nor batches, devices or hosts change a score.
"""

import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

import jax
import numpy as np
from jaxtyping import Float, UInt8

from framebridge_jax.evaluation import cache as caches

Video = UInt8[np.ndarray, 'f h w 3']
Picture = UInt8[np.ndarray, 'h w 3']
Numbers = Float[np.ndarray, 'n d']


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Clip:
  """A clip with what it was made from.

  Attributes:
    name: nobody else's among the clips that are scored together.
    video: its frames.
    image: what it was given, if known.
    truth: the real clip of the same first frame, if there is one.
    caption: what it was asked to show.
    label: class that was asked for; -1: none.
  """

  name: str
  video: Video
  image: Picture | None = None
  truth: Video | None = None
  caption: str = ''
  label: int = -1


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Measure:
  """Gives some numbers for each clip.

  Attributes:
    name: of the measure.
    digest: of all that decides the numbers: weights, sizes, version.
    columns: what the numbers are, by their place.
    run: gives them for several clips.
    needs: fields of a clip that it looks at besides its video.
    least_frames: that a clip must have.
    weights: what is known of the weights, to be printed beside each score.
  """

  name: str
  digest: str
  columns: dict[str, slice]
  run: Callable[[Sequence[Clip]], Numbers]
  needs: tuple[str, ...] = ()
  least_frames: int = 1
  weights: str = ''


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Table:
  """Numbers of clips in the order of their names.

  Attributes:
    measure: what was measured.
    names: of the clips, sorted.
    values: a row a clip.
    digests: of what was measured, a row a clip.
    labels: classes that were asked for.
  """

  measure: Measure
  names: tuple[str, ...]
  values: Numbers
  digests: tuple[str, ...]
  labels: tuple[int, ...]

  def column(self, name: str) -> Numbers:
    """Some of the numbers."""
    return self.values[:, self.measure.columns[name]]


class ClipError(ValueError):
  """A clip cannot be measured; the message names it and why."""


def measure(
  clips: Iterable[Clip],
  measures: Sequence[Measure],
  *,
  cache: caches.Cache,
  batch_size: int,
) -> dict[str, Table]:
  """Measures clips in one pass; those that the cache knows cost nothing.

  On several hosts each gives its own clips and gets the tables of all.

  Args:
    clips: of this host; they are asked for once, in their order.
    measures: what to measure.
    cache: numbers of clips that were measured before.
    batch_size: clips at hand at a time; changes no number.

  Raises:
    ClipError: a clip lacks what a measure needs, or a name is there twice.
  """
  rows = {one.name: {} for one in measures}
  for batch in _batches(clips, batch_size):
    for one in measures:
      _judge(batch, one)
      found = _measured(batch, one, cache)
      for clip, (key, values) in zip(batch, found, strict=True):
        if clip.name in rows[one.name]:
          raise ClipError(f'two clips are named {clip.name}; rename one')
        rows[one.name][clip.name] = key, values, clip.label
  cache.flush()
  return {one.name: _table(one, _gathered(rows[one.name])) for one in measures}


def _batches(clips, size) -> Iterator[list[Clip]]:
  clips = iter(clips)
  while batch := list(itertools.islice(clips, size)):
    yield batch


def _judge(clips, one):
  for clip in clips:
    if len(clip.video) < one.least_frames:
      raise ClipError(
        f'{clip.name} has {len(clip.video)} frames; {one.name} needs '
        f'{one.least_frames} or more'
      )
    for field in one.needs:
      value = getattr(clip, field)
      if value is None or (isinstance(value, str) and not value):
        raise ClipError(f'{clip.name} comes without {_FIELDS[field]}')


def _measured(batch, one, cache):
  """(key, numbers) of each clip, from the cache or fresh."""
  keys = [_key(clip, one) for clip in batch]
  known = cache.known(one.digest)
  fresh = {key: clip for key, clip in zip(keys, batch, strict=True)}
  fresh = {key: clip for key, clip in fresh.items() if key not in known}
  if fresh:
    values = np.asarray(one.run(list(fresh.values())), np.float32)
    cache.add(one.digest, list(fresh), values)
  return [(key, known[key]) for key in keys]


def _key(clip, one) -> str:
  """A digest of all of a clip that the measure looks at."""
  total = hashlib.sha256()
  for field in ('video', *one.needs):
    value = getattr(clip, field)
    if isinstance(value, np.ndarray):
      total.update(f'{field} {value.shape} '.encode())
      total.update(np.ascontiguousarray(value).data)
    else:
      total.update(f'{field} {value!r} '.encode())
  return total.hexdigest()


def _gathered(rows):
  """The rows of all hosts."""
  if jax.process_count() == 1:
    return rows
  from framebridge_jax.evaluation import hosts

  return hosts.union(rows)


def _table(one, rows) -> Table:
  names = tuple(sorted(rows))
  return Table(
    measure=one,
    names=names,
    values=np.array([rows[name][1] for name in names]).reshape(len(names), -1),
    digests=tuple(rows[name][0] for name in names),
    labels=tuple(rows[name][2] for name in names),
  )


_FIELDS = {
  'image': 'the image that it was given',
  'truth': 'a true clip to compare it with',
  'caption': 'a caption',
}
