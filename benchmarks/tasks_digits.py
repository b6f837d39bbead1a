"""Measures tasks on moving digits: does one model do them, and how well?

  python benchmarks/tasks_digits.py --model=quickstart_base --out=tasks_digits

Held-out clips, whose digits training never saw.  Interpolation is compared
with the line from end to end and, given `--twin`, with a model that was trained
on first frames alone.  Long clips are read along the way, with each remedy for
drift and with each knob of motion.  Writes tables and contact sheets of every
task.  An hour on two busy cores.
"""

import argparse
import dataclasses
import json
import pathlib
import time

import numpy as np

import framebridge_jax
from framebridge_jax import build, pipeline
from framebridge_jax.data import digit_world
from framebridge_jax.evaluation import digits
from framebridge_jax.models import digit_reader
from framebridge_jax.porting import weights
from framebridge_jax.report import sheets

WORLD = digit_world.World(size=32, frames=16, ground='plain', ink='white')
LONG, OVERLAP, SCENES = 64, 4, 100
READER = digit_reader.DigitReader()


@dataclasses.dataclass(frozen=True)
class Bed:
  """Held-out clips and their classes."""

  clips: np.ndarray
  labels: np.ndarray

  @classmethod
  def draw(cls, count: int) -> 'Bed':
    """Scenes that no other figure of the package is of."""
    clips, labels = zip(
      *[
        digit_world.make_clip(WORLD, seed=0, split='test', scene=SCENES + i)
        for i in range(count)
      ],
      strict=True,
    )
    return cls(np.stack(clips), np.array(labels))


def main() -> None:
  """Prints the tables, and writes them with the sheets."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--model', default='quickstart_base')
  parser.add_argument('--twin', default='', help='trained on first frames')
  parser.add_argument('--out', default='tasks_digits', type=pathlib.Path)
  parser.add_argument('--clips', type=int, default=64)
  parser.add_argument('--parts', default='interpolation,long,motion,sheets')
  options = parser.parse_args()
  options.out.mkdir(parents=True, exist_ok=True)
  model, bed = framebridge_jax.load(options.model), Bed.draw(options.clips)
  found = {}
  start = time.perf_counter()
  for part in options.parts.split(','):
    if part == 'interpolation':
      twin = options.twin and framebridge_jax.load(options.twin)
      found[part] = interpolation(model, twin, bed)
    elif part == 'sheets':
      draw_sheets(model, options.out)
    else:
      found[part] = {'long': long, 'motion': moving}[part](model, bed)
    print(json.dumps(found.get(part), indent=2), flush=True)
  found['seconds'] = round(time.perf_counter() - start)
  (options.out / 'scores.json').write_text(json.dumps(found, indent=2) + '\n')


def interpolation(model, twin, bed) -> dict[str, float]:
  """PSNR of the 14 frames between, in dB: mean over clips."""
  scores = {}
  share = np.arange(16)[None, :, None, None, None] / 15
  ends = bed.clips[:, :1], bed.clips[:, -1:]
  line = ends[0] + share * (ends[1].astype(float) - ends[0])
  scores['line from end to end'] = _psnr(line, bed.clips)
  for name, which in (('model', model), ('trained on first frames', twin)):
    if not which:
      continue
    samples = [
      _made(which, 'interpolate', bed, (0, -1), sample_id=i) for i in range(4)
    ]
    scores[f'{name}: a sample'] = _psnr(samples[0], bed.clips)
    mean = np.mean(np.stack(samples).astype(float), axis=0)
    scores[f'{name}: mean of 4 samples'] = _psnr(mean, bed.clips)
    scores[f'{name}: read in frame 8'] = _read(samples[0][:, 7], bed.labels)
    moved = _made(which, 'i2v', bed, (0,))
    scores[f'{name}: i2v, read in frame 16'] = _read(moved[:, -1], bed.labels)
  return scores


def long(model, bed) -> dict[str, dict]:
  """Extension to 64 frames: what is read, and the spread of the channels."""
  return {
    name: _along(model, bed, **how)
    for name, how in {
      'extend': {},
      'extend, anchor': {'anchor': True},
      'extend, match 1': {'match': 1.0},
      'extend, anchor, match 1': {'anchor': True, 'match': 1.0},
      'rolling': {'rolling': True},
    }.items()
  }


def moving(model, bed) -> dict[str, dict]:
  """What each knob does to the motion of `i2v`, and to the digits."""
  real = _change(bed.clips)
  scores = {}
  for name, how in {
    'none': {},
    'temperature 0.8': {'temperature': 0.8},
    'temperature 0.9': {'temperature': 0.9},
    'temperature 1.1': {'temperature': 1.1},
    'known_time 0.01': {'known_time': 0.01},
    'known_time 0.03': {'known_time': 0.03},
    'image_noise 0.1': {'image_noise': 0.1},
    'guidance 3': {'guidance': 3.0},
    'dbim': {'sampler': 'dbim'},
    'num_steps 50': {'num_steps': 50},
  }.items():
    made = _made(model, 'i2v', bed, (0,), **how)
    scores[name] = {
      'change': round(_change(made) / real, 2),
      'read in frame 16': _read(made[:, -1], bed.labels),
    }
  return scores


def _made(model, task, bed, frames, sample_id=0, **how):
  """The task on every clip of the bed, of some of its frames."""
  wishes = [
    pipeline.Wish(
      [clip[i] for i in frames], int(label), 0, 1000 * sample_id + n
    )
    for n, (clip, label) in enumerate(zip(bed.clips, bed.labels, strict=True))
  ]
  made = []
  for i in range(0, len(wishes), 16):
    made += model.batch(task, wishes[i : i + 16], **how)
  return np.stack([video.frames for video in made])


def _along(model, bed, **how):
  """Scores of 64 frames that begin with a picture."""
  how = {'overlap': OVERLAP, **how}
  made = np.stack(
    [
      model.extend(
        clip[0], frames=LONG, label=int(label), sample_id=i, **how
      ).frames
      for i, (clip, label) in enumerate(zip(bed.clips, bed.labels, strict=True))
    ]
  )
  at = [16, 24, 32, 48, 64]
  read = {i: _read(made[:, i - 1], bed.labels) for i in at}
  std = {i: made[:, i - 1].std(axis=(1, 2)).mean() for i in at}
  drift = np.abs(
    made[:, -1].mean(axis=(1, 2)) - made[:, 0].mean(axis=(1, 2))
  ).mean()
  return {
    'read': read,
    'kept at 64': round(read[64] / max(read[16], 1e-9), 2),
    'channel std over frame 1': {
      i: round(float(x / made[:, 0].std(axis=(1, 2)).mean()), 3)
      for i, x in std.items()
    },
    'mean off at 64, grey levels': round(float(drift), 2),
  }


def draw_sheets(model, out) -> None:
  """A contact sheet of every task."""
  bed = Bed.draw(10)
  picks = [0, 3, 5, 8]
  rows = {}
  for i in picks:
    clip, label = bed.clips[i], int(bed.labels[i])
    how = {'label': label, 'seed': i}
    made = {
      'truth': clip,
      'i2v': model.animate(clip[0], **how).frames,
      'interpolate': model.interpolate(clip[0], clip[-1], **how).frames,
      'keyframes': model.keyframes(
        {0: clip[0], 6: clip[6], 15: clip[15]}, **how
      ).frames,
      'extend': model.make('extend:overlap=4', clip[:4], **how).frames,
      'transition': model.transition(clip[:2], clip[-2:], **how).frames[2:-2],
      'next_frame': model.next_frame(clip[:15], **how).frames,
      'loop': model.loop(clip[0], **how).frames,
      'inpaint_time': model.inpaint_time(clip, range(5, 11), **how).frames,
      'progressive': model.progressive(clip[0], **how).frames,
      'edit 0.7': model.edit(clip, strength=0.7, **how).frames,
      f'edit to {(label + 3) % 10}': model.edit(
        clip, strength=0.95, seed=i, label=(label + 3) % 10
      ).frames,
    }
    rows[label] = made
  for label, made in rows.items():
    longest = max(map(len, made.values()))
    shown = [(name, _filled(x, longest)) for name, x in made.items()]
    sheet = sheets.sheet_of_clips(shown, zoom=1)
    sheets.write_png(out / f'tasks_{label}.png', sheet)
  _draw_long(model, bed, out)


def _draw_long(model, bed, out):
  """Every fourth frame of 64."""
  shown = []
  for i in (0, 3, 5, 8):
    for name, how in (('extend', {}), ('rolling', {'rolling': True})):
      clip, label = bed.clips[i], int(bed.labels[i])
      video = model.extend(
        clip[0], frames=LONG, label=label, seed=i, overlap=OVERLAP, **how
      )
      shown.append((f'{name} {label}', video.frames[::4]))
  sheets.write_png(out / 'long.png', sheets.sheet_of_clips(shown, zoom=1))


def _filled(clip, frames):
  """White where a clip is shorter."""
  missing = np.full((frames - len(clip), *clip.shape[1:]), 255, np.uint8)
  return np.concatenate([clip, missing])


def _psnr(made, truth):
  """Over the frames between the ends, mean of clips."""
  made, truth = (np.asarray(x, float)[:, 1:-1] for x in (made, truth))
  error = ((made - truth) ** 2).mean(axis=(1, 2, 3, 4))
  return round(float(np.mean(10 * np.log10(255**2 / error))), 2)


def _read(frames, labels):
  variables = weights.load(build.ASSETS / 'digit_reader.safetensors').params
  seen = digits.read_digits(READER, variables, frames)
  return round(float(np.mean(seen == labels)), 3)


def _change(clips):
  clips = clips.astype(float)
  return float(((clips[:, 1:] - clips[:, :-1]) ** 2).mean())


if __name__ == '__main__':
  main()
