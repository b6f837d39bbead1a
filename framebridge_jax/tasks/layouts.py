"""Where given frames go in the clip that is made, and what comes of it.

A plan says which frames of a clip are known.  A layout says which given frame
each of them is, and how the made frames join what was given.  It is bookkeeping
alone: of numbers of frames, before a single picture is looked at.

Given are clips; a picture is a clip of one frame.  The rows of LAYOUTS are
those of `plans.TASKS` and have the same options, where these matter.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from framebridge_jax.tasks import plans


class Frame(NamedTuple):
  """A frame of one of the given clips."""

  clip: int
  frame: int


class Piece(NamedTuple):
  """Consecutive frames of the result.

  Attributes:
    clip: number of the given clip that they are of; MADE: of the made one.
    start: first frame.
    stop: behind the last one.
  """

  clip: int
  start: int
  stop: int


class Layout(NamedTuple):
  """Bookkeeping of one clip.

  Attributes:
    places: what each frame of the made clip is before it is made, where it is
      anything: a known frame, or one that is edited.
    pieces: the result, in order.
  """

  places: dict[int, Frame]
  pieces: tuple[Piece, ...]


MADE = -1
Lengths = Sequence[int]  # frames of each given clip


def generate(frames: int, lengths: Lengths) -> Layout:
  """Nothing is given."""
  _want(lengths, 'generate', [])
  return _alone({}, frames)


def image_to_video(frames: int, lengths: Lengths) -> Layout:
  """A picture comes first."""
  _want(lengths, 'i2v', [1], exactly=True)
  return _alone({0: Frame(0, 0)}, frames)


def interpolate(frames: int, lengths: Lengths) -> Layout:
  """Two pictures stand at the ends."""
  _want(lengths, 'interpolate', [1, 1], exactly=True)
  return _alone({0: Frame(0, 0), frames - 1: Frame(1, 0)}, frames)


def keyframes(frames: int, lengths: Lengths, *, known: str = '0') -> Layout:
  """A picture for each known index, in that order."""
  indices = plans.indices('known', known)
  _want(lengths, f'keyframes:known={known}', [1] * len(indices), exactly=True)
  return _alone({x: Frame(i, 0) for i, x in enumerate(indices)}, frames)


def extend(frames: int, lengths: Lengths, *, overlap: int = 4) -> Layout:
  """The last frames of a clip come first; what is made goes behind it."""
  _want(lengths, 'extend', [overlap])
  (length,) = lengths
  return Layout(
    _tail(0, length, overlap),
    (Piece(0, 0, length), Piece(MADE, overlap, frames)),
  )


def transition(frames: int, lengths: Lengths, *, overlap: int = 2) -> Layout:
  """One clip's last frames, and the first ones of another."""
  _want(lengths, 'transition', [overlap, overlap])
  return _between(frames, lengths, overlap)


def loop(frames: int, lengths: Lengths, *, overlap: int = 1) -> Layout:
  """A clip's last frames, and its first ones."""
  _want(lengths, 'loop', [overlap])
  layout = _between(frames, [*lengths, *lengths], overlap)
  places = {i: x._replace(clip=0) for i, x in layout.places.items()}
  return Layout(places, layout.pieces[:-1])


def next_frame(frames: int, lengths: Lengths) -> Layout:
  """All frames but the last are a clip's last ones."""
  _want(lengths, 'next_frame', [frames - 1])
  (length,) = lengths
  return Layout(
    _tail(0, length, frames - 1),
    (Piece(0, 0, length), Piece(MADE, frames - 1, frames)),
  )


def inpaint_time(frames: int, lengths: Lengths) -> Layout:
  """All of a clip; the missing frames of it are not read."""
  _want(lengths, 'inpaint_time', [frames])
  return _whole(frames, lengths)


def edit(frames: int, lengths: Lengths) -> Layout:
  """All of a clip."""
  _want(lengths, 'edit', [frames])
  return _whole(frames, lengths)


def progressive(frames: int, lengths: Lengths) -> Layout:
  """A picture, of which all frames set out that set out on the way."""
  _want(lengths, 'progressive', [1], exactly=True)
  return _alone({i: Frame(0, 0) for i in range(frames)}, frames)


def staggered(frames: int, lengths: Lengths) -> Layout:
  """Nothing is given."""
  _want(lengths, 'staggered', [])
  return _alone({}, frames)


def rolling(frames: int, lengths: Lengths, *, overlap: int = 0) -> Layout:
  """The window of a stream: its known frames are a clip's last ones."""
  _want(lengths, 'rolling', [overlap] if overlap else [])
  if not overlap:
    return _alone({}, frames)
  (length,) = lengths
  return Layout(_tail(0, length, overlap), (Piece(0, 0, length),))


def _alone(places, frames):
  """The result is what is made."""
  return Layout(places, (Piece(MADE, 0, frames),))


def _whole(frames, lengths):
  del lengths
  return _alone({i: Frame(0, i) for i in range(frames)}, frames)


def _tail(clip, length, count):
  return {i: Frame(clip, length - count + i) for i in range(count)}


def _between(frames, lengths, overlap):
  first, second = lengths
  head = {frames - overlap + i: Frame(1, i) for i in range(overlap)}
  return Layout(
    _tail(0, first, overlap) | head,
    (
      Piece(0, 0, first),
      Piece(MADE, overlap, frames - overlap),
      Piece(1, 0, second),
    ),
  )


def _want(lengths, name, least, *, exactly=False):
  """Refuses another number of clips, and clips that are too short.

  Raises:
    ValueError: says what the task takes.
  """
  what = _words(least, exactly)
  if len(lengths) != len(least):
    raise ValueError(f'{name} takes {what}, {len(lengths)} are given')
  for number, (length, want) in enumerate(zip(lengths, least, strict=True)):
    if length < want or (exactly and length != want):
      raise ValueError(
        f'{name} takes {what}; number {number + 1} has {length} '
        f'{"frame" if length == 1 else "frames"}'
      )


def _words(least, exactly):
  if not least:
    return 'no picture'
  if exactly:
    return f'{len(least)} pictures' if len(least) > 1 else 'one picture'
  clips = 'one clip' if len(least) == 1 else f'{len(least)} clips'
  return f'{clips} of at least {least[0]} frames'


LAYOUTS: dict[str, Callable[..., Layout]] = {
  'generate': generate,
  'i2v': image_to_video,
  'interpolate': interpolate,
  'keyframes': keyframes,
  'extend': extend,
  'transition': transition,
  'next_frame': next_frame,
  'loop': loop,
  'inpaint_time': inpaint_time,
  'progressive': progressive,
  'staggered': staggered,
  'rolling': rolling,
  'edit': edit,
}
