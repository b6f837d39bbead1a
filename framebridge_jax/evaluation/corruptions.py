"""Real clips, more and more spoilt: what a score must notice.

Table LADDER.  Within a kind of corruption the strength grows; a score that
does not grow with it says nothing about such faults.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageFilter

Video = UInt8[np.ndarray, 'f h w 3']


class Rung(NamedTuple):
  """A corruption.

  Attributes:
    kind: of the corruption.
    strength: in the words of a table.
    spoil: from a clip and its random numbers to a spoilt one.
  """

  kind: str
  strength: str
  spoil: Callable[[Video, np.random.Generator], Video]


def add_noise(video: Video, rng: np.random.Generator, *, std: float) -> Video:
  """Gaussian noise of `std` grey levels, anew in every frame."""
  noise = rng.normal(0, std, video.shape)
  return np.clip(np.rint(video + noise), 0, 255).astype(np.uint8)


def blur(video: Video, rng: np.random.Generator, *, width: int) -> Video:
  """The mean over a square of `width` pixels, odd."""
  del rng
  box = ImageFilter.BoxBlur((width - 1) / 2)
  return np.stack(
    [np.asarray(Image.fromarray(frame).filter(box)) for frame in video]
  )


def freeze(video: Video, rng: np.random.Generator, *, share: float) -> Video:
  """The last share of the frames stand still."""
  del rng
  moving = _moving(video, share)
  still = np.repeat(video[moving - 1 : moving], len(video) - moving, axis=0)
  return np.concatenate([video[:moving], still])


def shuffle(video: Video, rng: np.random.Generator, *, share: float) -> Video:
  """The last share of the frames, in random order."""
  kept = len(video) - round(share * len(video))
  order = np.concatenate(
    [np.arange(kept), kept + rng.permutation(len(video) - kept)]
  )
  return video[order]


def _moving(video, share):
  return max(1, len(video) - round(share * len(video)))


LADDER = (
  *(
    Rung('noise', f'std {std}', functools.partial(add_noise, std=std))
    for std in (4, 8, 16, 32)
  ),
  *(
    Rung('blur', f'{width} px', functools.partial(blur, width=width))
    for width in (3, 5, 7)
  ),
  *(
    Rung('frozen', f'last {share:.1%}', functools.partial(freeze, share=share))
    for share in (0.125, 0.375, 0.625)
  ),
  Rung('frozen', 'copy of frame 1', functools.partial(freeze, share=1.0)),
  *(
    Rung(
      'shuffled', f'last {share:.0%}', functools.partial(shuffle, share=share)
    )
    for share in (0.25, 0.5, 1.0)
  ),
)
