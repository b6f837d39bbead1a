"""Clips that play side by side in step.

All frames of a clip are one picture, and one number of the page, `--frame`,
says which of them every clip shows.  So clips cannot run apart, any frame can
be stopped at, and no browser needs a codec.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

import einops
import numpy as np
from PIL import Image

from framebridge_jax.data import clips

# Above this side pictures are compressed with loss.
_LOSSLESS = 64
_QUALITY = 88
_WIDEST = 16_383  # pixels, of a WebP picture


class Films(NamedTuple):
  """A row of the lattice: the same first frame, several ways.

  Attributes:
    label: of the row.
    clips: by column.
  """

  label: str
  clips: Mapping[str, np.ndarray]  # uint8 [f, h, w, 3], of any size


def lattice(rows: Sequence[Films]) -> str:
  """Markup of clips in step: a row for each label, a column for each name.

  A column that a row lacks stays empty.

  Raises:
    ValueError: there is no clip.
  """
  columns = list(dict.fromkeys(name for row in rows for name in row.clips))
  frames = [len(clip) for row in rows for clip in row.clips.values()]
  if not frames:
    raise ValueError('no clips to show side by side')
  cells = ['<span></span>', *(f'<h3>{escape(x)}</h3>' for x in columns)]
  for row in rows:
    cells.append(f'<h3>{escape(row.label)}</h3>')
    cells += [
      film(row.clips[name], f'{row.label}, {name}')
      if name in row.clips
      else '<span></span>'
      for name in columns
    ]
  return (
    f'{desk(max(frames))}\n<div class="films" tabindex="0" '
    f'style="--methods: {len(columns)}">\n' + '\n'.join(cells) + '\n</div>'
  )


def desk(frames: int) -> str:
  """What plays, stops and moves all clips of a page."""
  return (
    f'<div class="desk" data-frames="{frames}">'
    '<button type="button" data-do="play">Play</button>'
    '<button type="button" data-do="back" aria-label="one frame back">'
    '&#9664;</button>'
    '<button type="button" data-do="on" aria-label="one frame on">'
    '&#9654;</button>'
    f'<input type="range" min="0" max="{frames - 1}" value="0" '
    'aria-label="frame">'
    f'<output>1 / {frames}</output>'
    '<label>frames a second <select data-do="rate">'
    '<option>4</option><option selected>8</option><option>16</option>'
    '<option>24</option></select></label></div>'
  )


def film(clip: clips.Video, text: str) -> str:
  """One clip, at the frame that the page shows."""
  count, height, width, _ = clip.shape
  shown = max(1, 160 // width) * width if width < 160 else min(width, 256)
  look = (
    f'--side: {shown}px; --aspect: {height / width:.4g}; --frames: {count}; '
    f"background-image: url('{picture(clip)}')"
  )
  kind = 'film small' if width <= _LOSSLESS else 'film'
  return (
    f'<div class="{kind}" role="img" aria-label="{escape(text)}" '
    f'style="{look}"></div>'
  )


def picture(clip: clips.Video) -> str:
  """All frames side by side as a data URI.

  Raises:
    ValueError: they are wider together than a picture may be.
  """
  strip = einops.rearrange(clip, 'f h w c -> h (f w) c')
  if strip.shape[1] > _WIDEST:
    raise ValueError(
      f'{len(clip)} frames of {clip.shape[2]} pixels are {strip.shape[1]} '
      f'wide, a picture may be {_WIDEST}; show shorter or smaller clips'
    )
  buffer = io.BytesIO()
  Image.fromarray(strip).save(
    buffer,
    'WEBP',
    lossless=clip.shape[2] <= _LOSSLESS,
    quality=_QUALITY,
  )
  data = base64.b64encode(buffer.getvalue()).decode('ascii')
  return f'data:image/webp;base64,{data}'


# Without a script clips stand at their first frame.
SCRIPT = """
(function () {
  const root = document.documentElement;
  const desks = [...document.querySelectorAll('.desk')];
  const frames = Math.max(1, ...desks.map(d => Number(d.dataset.frames)));
  let frame = 0, timer = null, rate = 8;
  function show(next) {
    frame = (next + frames) % frames;
    root.style.setProperty('--frame', frame);
    for (const desk of desks) {
      const own = Number(desk.dataset.frames);
      const here = Math.min(frame, own - 1);
      desk.querySelector('input').value = here;
      desk.querySelector('output').textContent = (here + 1) + ' / ' + own;
    }
  }
  function play(on) {
    clearInterval(timer);
    timer = on ? setInterval(() => show(frame + 1), 1000 / rate) : null;
    for (const desk of desks) {
      desk.querySelector('[data-do=play]').textContent = on ? 'Stop' : 'Play';
    }
  }
  for (const desk of desks) {
    desk.addEventListener('click', event => {
      const what = event.target.dataset.do;
      if (what === 'play') play(timer === null);
      if (what === 'back' || what === 'on') {
        play(false);
        show(frame + (what === 'on' ? 1 : -1));
      }
    });
    desk.querySelector('input').addEventListener('input', event => {
      play(false);
      show(Number(event.target.value));
    });
    desk.querySelector('select').addEventListener('change', event => {
      rate = Number(event.target.value);
      for (const other of desks) {
        other.querySelector('select').value = event.target.value;
      }
      if (timer !== null) play(true);
    });
  }
  show(0);
  if (!matchMedia('(prefers-reduced-motion: reduce)').matches) play(true);
})();
"""
