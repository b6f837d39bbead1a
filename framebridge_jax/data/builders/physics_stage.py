"""What every scene of physics_motion has: floor, sky, light, three materials.

Written in MJCF, the XML of MuJoCo.
"""

import colorsys
import io
import itertools
import math
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

import numpy as np
from PIL import Image

MATERIALS = ('solid0', 'solid1', 'solid2')

_SIDE = 64  # of a texture
_GRAVITY = 9.81
_FRICTION = (0.7, 0.02, 0.002)


def draw_textures(rng: np.random.Generator) -> dict[str, bytes]:
  """PNG files of the floor and of each material, by name.

  Some are a cloud, the others one of PATTERNS.
  """
  cloudy = {'floor': 0.6, **dict.fromkeys(MATERIALS, 0.25)}
  return {
    f'{name}.png': _draw_texture(rng, share) for name, share in cloudy.items()
  }


def set_up(
  rng: np.random.Generator, *, weightless: bool, untouched: bool
) -> tuple[ElementTree.Element, ElementTree.Element]:
  """Makes a document, and gives it and its world, empty but for the floor.

  Args:
    rng: The stream.
    weightless: Whether nothing falls.
    untouched: Whether solids pass through each other and the floor.
  """
  root = ElementTree.Element('mujoco')
  add(root, 'compiler', angle='radian', eulerseq='zyx')
  # Extents are the unit of lengths in 'visual'.
  add(root, 'statistic', extent=4, center=(0, 0, 0.5))
  gravity = (0, 0, 0 if weightless else -_GRAVITY)
  step = {'timestep': 0.005, 'integrator': 'implicitfast'}
  option = add(root, 'option', gravity=gravity, **step)
  add(option, 'flag', contact='disable' if untouched else 'enable')
  visual = add(root, 'visual')
  add(visual, 'global', fovy=45)
  add(visual, 'map', znear=0.02, zfar=20)
  add(visual, 'quality', shadowsize=256, offsamples=0)
  grey = {'ambient': (0.4,) * 3, 'diffuse': (0.25,) * 3, 'specular': (0,) * 3}
  add(visual, 'headlight', **grey)
  _add_assets(add(root, 'asset'), rng)
  world = add(root, 'worldbody')
  x, y = rng.uniform(-0.6, 0.6, 2)
  sun = {'dir': (x, y, -1), 'pos': (-2 * x, -2 * y, 3)}
  add(world, 'light', directional='true', diffuse=(0.65,) * 3, **sun)
  floor = {'type': 'plane', 'size': (12, 12, 0.1), 'material': 'floor'}
  add(world, 'geom', friction=_FRICTION, **floor)
  return root, world


def add_motors(root: ElementTree.Element, stiffnesses: Sequence[float]) -> None:
  """Names the joints, and gives each stiff one a motor that holds an angle.

  Args:
    root: The document.
    stiffnesses: Of every joint, in the order of the document; 0 is no motor.
  """
  joints = [e for e in root.iter() if e.tag in ('joint', 'freejoint')]
  actuator = add(root, 'actuator')
  for i, (joint, stiffness) in enumerate(zip(joints, stiffnesses, strict=True)):
    joint.set('name', f'joint{i}')
    if stiffness:
      add(actuator, 'position', joint=f'joint{i}', kp=stiffness)


def add_solid(
  body: ElementTree.Element, number: int, **attributes: Any
) -> None:
  """Adds a shape; materials go round with `number`."""
  weight = {'density': 400, 'friction': _FRICTION}
  material = MATERIALS[number % len(MATERIALS)]
  add(body, 'geom', **{'material': material, **weight, **attributes})


def add(
  parent: ElementTree.Element, tag: str, **attributes: Any
) -> ElementTree.Element:
  """Adds an element; attributes are texts, numbers or rows of numbers."""
  texts = {name: _text(value) for name, value in attributes.items()}
  return ElementTree.SubElement(parent, tag, texts)


def _text(value):
  if isinstance(value, str):
    return value
  return ' '.join(f'{number:.6g}' for number in np.atleast_1d(value))


def _add_assets(asset, rng):
  repeats = (rng.uniform(0.25, 0.7),) * 2
  add(asset, 'texture', name='floor', type='2d', file='floor.png')
  ground = {'texrepeat': repeats, 'texuniform': 'true', 'specular': 0.05}
  add(asset, 'material', name='floor', texture='floor', **ground)
  for name in MATERIALS:
    add(asset, 'texture', name=name, type='cube', file=f'{name}.png')
    add(asset, 'material', name=name, texture=name, specular=0.2)
  low, high = (_draw_colour(rng) for _ in range(2))
  sky = {'builtin': 'gradient', 'width': 32, 'height': 192}
  add(asset, 'texture', type='skybox', rgb1=low, rgb2=high, **sky)


def _draw_texture(rng, cloudy):
  """A pattern of a dark and a light colour, as a PNG file that repeats.

  The colours differ in brightness, so that a ball is seen to turn.
  """
  y, x = np.mgrid[0:_SIDE, 0:_SIDE] / _SIDE
  if rng.random() < cloudy:
    mix = _cloud(rng, x, y)
  else:
    mix = PATTERNS[rng.integers(len(PATTERNS))](rng, x, y)
  dark = np.array(_draw_colour(rng, (0.15, 0.4)))
  light = np.array(_draw_colour(rng, (0.7, 0.95)))
  pixels = dark + (light - dark) * mix[..., None]
  buffer = io.BytesIO()
  Image.fromarray(np.rint(255 * pixels).astype(np.uint8)).save(buffer, 'png')
  return buffer.getvalue()


def _draw_colour(rng, value=(0.25, 0.95)):
  """A colour in [0, 1] of any hue, neither grey nor glaring."""
  return colorsys.hsv_to_rgb(
    rng.random(), rng.uniform(0.15, 0.75), rng.uniform(*value)
  )


def _cloud(rng, x, y):
  """Waves of up to four periods, the long ones strongest."""
  total = np.zeros_like(x)
  for across, down in itertools.product(range(-4, 5), range(1, 5)):
    phase = rng.uniform(0, 2 * math.pi)
    wave = np.cos(2 * math.pi * (across * x + down * y) + phase)
    total += rng.normal() * wave / (across**2 + down**2)
  return (total - total.min()) / np.ptp(total)


def _checks(rng, x, y):
  cells = 2 * rng.integers(1, 3)
  return (np.floor(x * cells) + np.floor(y * cells)) % 2


def _stripes(rng, x, y):
  along = (x, y)[rng.integers(2)]
  return np.floor(2 * rng.integers(2, 5) * along) % 2


def _dots(rng, x, y):
  cells = rng.integers(2, 5)
  return np.float64(np.hypot(x * cells % 1 - 0.5, y * cells % 1 - 0.5) < 0.3)


PATTERNS = (_checks, _stripes, _dots)
