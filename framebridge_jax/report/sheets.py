"""Still pictures of clips: the contact sheet and the strip of frames."""

import dataclasses
import os
from collections.abc import Sequence

import einops
import jaxtyping
import numpy as np
from etils import epath
from PIL import Image, ImageDraw, ImageFont

from framebridge_jax import files
from framebridge_jax.data import clips


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
  """One line of the sheet: what was given, what we made, what was true.

  All three share height and width; `ours` and `truth` may differ in length as
  long as both reach the times shown.
  """

  label: str
  given: clips.Picture
  ours: jaxtyping.UInt8[np.ndarray, 'ours h w 3']
  truth: jaxtyping.UInt8[np.ndarray, 'truth h w 3']


def contact_sheet(
  rows: Sequence[Row], *, times: Sequence[int], zoom: int
) -> clips.Picture:
  """Draws given frame | ours at `times` | truth at `times`, a row an example.

  Args:
    rows: Examples of one frame size.
    times: Indices of the frames shown, from 0; captions count from 1.
    zoom: Sheet pixels along the side of one pixel of a frame.

  Raises:
    ValueError: There is no row or time, rows differ in frame size, or a clip
      ends before the last time.
  """
  _check(rows, times)
  height, width, _ = _cell(rows[0].given, zoom, _PAPER).shape
  labels = max(_text_width(row.label) for row in rows) + _GAP
  group = len(times) * width
  frames = [_text(str(time + 1), width, _CAPTION) for time in times]
  lines = [
    [
      _text('', labels, _CAPTION),
      _text('', width, _CAPTION),
      _text('ours, at frame', group, _CAPTION),
      _text('truth, at frame', group, _CAPTION),
    ],
    [
      _text('', labels, _CAPTION),
      _text('given', width, _CAPTION),
      np.hstack(frames),
      np.hstack(frames),
    ],
  ]
  for row in rows:
    ours, truth = (
      np.hstack([_cell(clip[time], zoom, _PAPER) for time in times])
      for clip in (row.ours, row.truth)
    )
    label = _text(row.label, labels, height)
    lines.append([label, _cell(row.given, zoom, _OUTLINE), ours, truth])
  return _border(np.vstack([_line(blocks) for blocks in lines]), _GAP, _PAPER)


def sheet_of_clips(
  rows: Sequence[tuple[str, clips.Video]], *, zoom: int
) -> jaxtyping.UInt8[np.ndarray, 'rows columns 3']:
  """Draws a row for each clip: its label, and its frames side by side.

  Args:
    rows: Labels and clips, alike in length and size.
    zoom: Sheet pixels along the side of one pixel of a frame.

  Raises:
    ValueError: There is no row, or the clips differ.
  """
  shapes = {video.shape for _, video in rows}
  if len(shapes) != 1:
    raise ValueError(
      f'a sheet of clips of shapes {sorted(shapes)}; give one or more, alike'
    )
  width = max(_text_width(label) for label, _ in rows) + _GAP
  lines = []
  for label, video in rows:
    frames = np.hstack([_cell(frame, zoom, _PAPER) for frame in video])
    lines.append(np.hstack([_text(label, width, len(frames)), frames]))
  return _border(np.vstack(lines), _GAP, _PAPER)


def strip(video: clips.Video) -> jaxtyping.UInt8[np.ndarray, 'h f*w 3']:
  """Lays the frames side by side, the first frame left."""
  return einops.rearrange(video, 'f h w c -> h (f w) c')


def write_png(path: str | os.PathLike, image: clips.Picture) -> None:
  """Writes the picture; an interrupted write leaves the old file whole."""
  epath.Path(path).parent.mkdir(parents=True, exist_ok=True)
  with files.replacing(path) as part:
    Image.fromarray(image).save(part, format='PNG', optimize=True)


def _check(rows, times):
  if not rows or not times:
    raise ValueError(
      f'a contact sheet of {len(rows)} rows and {len(times)} times; give at '
      'least one of each'
    )
  size = rows[0].given.shape
  for row in rows:
    if row.given.shape != size:
      raise ValueError(
        f'{row.label}: frames of {row.given.shape}, the first row has {size}; '
        'resize all rows to one size'
      )
    frames = min(len(row.ours), len(row.truth))
    if max(times) >= frames:
      raise ValueError(
        f'{row.label}: the sheet shows frame {max(times) + 1} of clips of '
        f'{frames} frames; choose times below {frames}'
      )


def _line(blocks):
  """Joins the four columns of a line, a gap before each group of frames."""
  height = len(blocks[0])
  gap = np.broadcast_to(_PAPER, (height, _GAP, 3))
  label, given, ours, truth = blocks
  return np.hstack([label, given, gap, ours, gap, truth])


def _cell(frame, zoom, colour):
  large = einops.repeat(frame, 'h w c -> (h zh) (w zw) c', zh=zoom, zw=zoom)
  return _border(_border(large, _STROKE, colour), _SEAM, _PAPER)


def _border(image, size, colour):
  height, width, _ = image.shape
  framed = np.empty((height + 2 * size, width + 2 * size, 3), np.uint8)
  framed[:] = colour
  framed[size:-size, size:-size] = image
  return framed


def _text(text, width, height):
  """The text on paper, left and half way down."""
  image = Image.new('RGB', (width, height), tuple(_PAPER.tolist()))
  draw = ImageDraw.Draw(image)
  place = (_INDENT, height // 2)
  draw.text(place, text, fill=_INK, font=_FONT, anchor='lm')
  return np.asarray(image)


def _text_width(text):
  return round(_FONT.getlength(text)) + _INDENT


_FONT = ImageFont.load_default(size=13)
_CAPTION = 20
_GAP = 14
_SEAM = 1
_INDENT = 3
_STROKE = 2
_INK = (60, 64, 72)
_PAPER = np.array([255, 255, 255], np.uint8)
_OUTLINE = np.array([47, 111, 222], np.uint8)
