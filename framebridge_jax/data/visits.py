"""One visit of a clip: which frames of it, and what else a batch holds.

A visit is a function of the clip and of the random numbers of its place in the
whole sequence.  A clip that cannot be decoded is replaced by the next one that
can: every host, worker and resumed run finds the same one.
"""

import dataclasses
from typing import Any

import numpy as np

from framebridge_jax.data import clips, sources, video_io


@dataclasses.dataclass(frozen=True, kw_only=True)
class Look:
  """How clips are looked at.

  Attributes:
    size: side of the frames in pixels.
    frames: frames a window.
    stride: frames of the clip from one frame of the window to the next.
    max_stride: if larger, a stride is drawn from `stride` to this, or to the
      largest that the clip is long enough for, and given as `stride`.
    flip: whether a window is mirrored, left to right, every other time.
    draw: whether latents are drawn as their encoder says; else their modes.
    text: whether the embedding of a cached clip's caption is given.
    caption_dropout: share of visits that show the null caption's instead.
  """

  size: int
  frames: int
  stride: int
  max_stride: int = 0
  flip: bool = False
  draw: bool = False
  text: bool = False
  caption_dropout: float = 0.0


@dataclasses.dataclass(frozen=True)
class Visits:
  """Elements of batches by the number of their clip.

  Attributes:
    records: the clips.
    look: how they are looked at.
    patience: clips in a row that may be damaged.
  """

  records: sources.Records
  look: Look
  patience: int

  def __call__(self, number: int, rng: np.random.Generator) -> dict[str, Any]:
    """The clip, or the next one that can be decoded.

    `clip` is the number asked for; `replaced` is 1 if another is shown.

    Raises:
      video_io.VideoError: There are more damaged clips than `patience` allows.
    """
    for offset in range(self.patience + 1):
      record = self.records[(number + offset) % len(self.records)]
      try:
        element = self._show(record, rng)
      except video_io.VideoError:
        if offset == self.patience:
          raise
      else:
        return {
          **element,
          'clip': np.int32(number),
          'replaced': np.int32(offset > 0),
        }
    raise AssertionError('a loop that is never left at its end')

  def _show(self, record, rng):
    look, video = self.look, record['video']
    stride = self._stride(len(video), rng)
    window = clips.window(
      len(video), frames=look.frames, stride=stride, rng=rng
    )
    pixels = (
      video.draw(window, look.size, rng)
      if look.draw
      else video.read(window, look.size)
    )
    if look.flip and rng.integers(2):
      pixels = np.ascontiguousarray(pixels[..., ::-1, :])
    element = {'video': pixels, 'label': np.int32(record['label'])}
    if look.max_stride > look.stride:
      element['stride'] = np.float32(stride)
    if look.text:
      dropped = rng.random() < look.caption_dropout
      text = record['null_text' if dropped else 'text']
      element['text'] = text.astype(np.float32).reshape(-1)
    return element

  def _stride(self, length, rng):
    look = self.look
    if look.max_stride <= look.stride:
      return look.stride
    fits = max((length - 1) // (look.frames - 1), look.stride)
    return int(rng.integers(look.stride, min(fits, look.max_stride) + 1))
