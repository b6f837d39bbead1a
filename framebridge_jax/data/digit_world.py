"""Handwritten digits that drift over a ground: clips with an open future.

A clip has two independent random streams.  The *scene* stream draws what its
first frame shows (digit, size, place, ink, ground); the *future* stream draws
what cannot be seen there (direction, speed, acceleration).  So one first frame
has as many true futures as one asks for, and a model that answers with a
frozen frame or with the mean future can be told from one that moves.

The 1,797 digits are the 8x8 images of the UCI set "Optical Recognition of
Handwritten Digits" (Alpaydin & Kaynak, CC BY 4.0; see digits8.md).  The first
1,437 serve the training split, the other 360 the test split.
"""

import dataclasses
import functools
import pathlib

import jaxtyping
import numpy as np
from PIL import Image

Clip = jaxtyping.UInt8[np.ndarray, 'f h w c']

NUM_CLASSES = 10
NUM_TRAIN_DIGITS = 1437
SPLITS = {'train': 0, 'test': 1}

_DIGITS = pathlib.Path(__file__).parent / 'builders' / 'digits8.npz'


@dataclasses.dataclass(frozen=True, kw_only=True)
class World:
  """What is drawn: frames, their side in pixels, looks and speeds.

  `ground` names a row of GROUNDS and `ink` a row of INKS.  `digit_size` is the
  digit's side and `speed` its step a frame, both in widths of the frame.
  """

  size: int = 32
  frames: int = 16
  ground: str = 'textured'
  ink: str = 'coloured'
  digit_size: tuple[float, float] = (0.4, 0.55)
  speed: tuple[float, float] = (0.02, 0.07)
  acceleration: float = 0.004


def make_clip(
  world: World, *, seed: int, split: str, scene: int, future: int = 0
) -> tuple[Clip, int]:
  """Draws one clip and its class; bytes depend on the arguments alone.

  Classes go round: scene `i` shows a digit of class `i % 10`.
  """
  look = np.random.default_rng([seed, SPLITS[split], scene, 11])
  move = np.random.default_rng([seed, SPLITS[split], scene, 13, future])
  label = scene % NUM_CLASSES
  ground = GROUNDS[world.ground](look, world.size)
  ink = INKS[world.ink](look)
  digit = _draw_digit(world, split, label, look)
  room = world.size - digit.shape[0]
  path = _drift(world, room, start=look.uniform(0, room, 2), rng=move)
  return _paint(ground, digit, ink, path), label


@functools.cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
  with np.load(_DIGITS, allow_pickle=False) as data:
    return data['images'], data['labels']


def digits_of(split: str) -> tuple[np.ndarray, np.ndarray]:
  """8x8 digits in 0..16 and their labels; the splits share no digit."""
  images, labels = _digits()
  part = (
    slice(None, NUM_TRAIN_DIGITS)
    if split == 'train'
    else slice(NUM_TRAIN_DIGITS, None)
  )
  return images[part], labels[part]


def _draw_digit(world, split, label, rng):
  """A digit of the class as coverage in [0, 1], enlarged."""
  images, labels = digits_of(split)
  image = images[rng.choice(np.flatnonzero(labels == label))]
  side = round(world.size * rng.uniform(*world.digit_size))
  grey = Image.fromarray((image * (255 / 16)).astype(np.uint8))
  grey = grey.resize((side, side), Image.Resampling.BICUBIC)
  return np.asarray(grey, np.float32) / 255


def _drift(world, room, *, start, rng):
  """Top-left corners [f, 2]: random heading, jitter, walls that reflect."""
  heading = rng.uniform(0, 2 * np.pi)
  speed = world.size * rng.uniform(*world.speed)
  velocity = speed * np.array([np.sin(heading), np.cos(heading)])
  place, path = np.asarray(start), []
  for _ in range(world.frames):
    path.append(place)
    velocity = velocity + rng.normal(size=2) * world.size * world.acceleration
    outside = (place + velocity < 0) | (place + velocity > room)
    velocity = np.where(outside, -velocity, velocity)
    place = np.clip(place + velocity, 0, room)
  return np.stack(path)


def _paint(ground, digit, ink, path):
  clip = np.repeat(ground[None], len(path), 0)
  side = digit.shape[0]
  cover = digit[..., None]
  for frame, (top, left) in zip(clip, np.rint(path).astype(int), strict=True):
    patch = frame[top : top + side, left : left + side]
    patch[:] = patch * (1 - cover) + ink * cover
  return np.clip(np.rint(clip), 0, 255).astype(np.uint8)


def _dark_colour(rng):
  """A colour dark enough for any ink to stand out."""
  return rng.uniform(10, 90, 3).astype(np.float32)


def _plain(rng, size):
  return np.broadcast_to(_dark_colour(rng), (size, size, 3)).copy()


def _textured(rng, size):
  """Two dark colours mixed by cloud, checks, stripes or dots."""
  y, x = np.mgrid[0:size, 0:size] / size
  mix = _TEXTURES[rng.integers(len(_TEXTURES))](rng, x, y)[..., None]
  one, two = _dark_colour(rng), _dark_colour(rng)
  return (one * (1 - mix) + two * mix).astype(np.float32)


def _cloud(rng, x, y):
  size = x.shape[0]
  total = np.zeros((size, size))
  for cells in (3, 5, 9):
    grid = Image.fromarray(rng.random((cells, cells)).astype(np.float32))
    grid = grid.resize((size, size), Image.Resampling.BICUBIC)
    total += np.asarray(grid) / cells
  return (total - total.min()) / np.ptp(total)


def _checks(rng, x, y):
  cells = 2 * rng.integers(1, 3)
  return (np.floor(x * cells) + np.floor(y * cells)) % 2


def _stripes(rng, x, y):
  axis = (x, y)[rng.integers(2)]
  return 0.5 + 0.5 * np.sign(np.sin(2 * np.pi * rng.integers(2, 5) * axis))


def _dots(rng, x, y):
  cells = rng.integers(2, 5)
  radius2 = ((x * cells) % 1 - 0.5) ** 2 + ((y * cells) % 1 - 0.5) ** 2
  return (radius2 < 0.09).astype(np.float64)


def _white(rng):
  del rng
  return np.full(3, 255, np.float32)


def _coloured(rng):
  return rng.uniform(155, 255, 3).astype(np.float32)


_TEXTURES = (_cloud, _checks, _stripes, _dots)
GROUNDS = {'plain': _plain, 'textured': _textured}
INKS = {'white': _white, 'coloured': _coloured}
