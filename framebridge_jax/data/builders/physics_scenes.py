"""First frames of physics_motion: what stands where, and how it looks.

A scene is a function of `(seed, split, scene)` alone.  How it goes on is drawn
from another stream, by physics_futures, so that one first frame has as many
true futures as one asks for.

There is a class for each kind of motion.  Classes with the same look in LOOKS
differ only in joints and gravity, which no frame shows: among them the class is
told by motion and by nothing else.

Lengths are metres, angles radians, time is seconds; z points up and the floor
is z = 0.  Nothing here needs MuJoCo: a scene is text that MuJoCo reads (MJCF).
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

from framebridge_jax.data.builders import physics_stage

SPLITS = {'train': 0, 'test': 1, 'multi': 2}

_SCENE_STREAM = 11


class Camera(NamedTuple):
  """Where the camera stands around the point `(0, 0, height)` it looks at."""

  azimuth: float
  elevation: float
  distance: float
  height: float


class Joint(NamedTuple):
  """What a future must know of a joint.

  `radius` and `axis` are of what lies on the floor: the height of its centre,
  and the direction of its long axis, if it has one.  `stiffness` is that of the
  joint's motor; 0 is no motor.
  """

  radius: float = 0.0
  axis: float | None = None
  stiffness: float = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scene:
  """A first frame, and what could move in it.

  `key` is `(seed, split, scene)` as numbers, `mjcf` the text for MuJoCo,
  `textures` the PNG files that it names, and `joints` are in its order.
  """

  motion: str
  key: tuple[int, int, int]
  mjcf: str
  textures: Mapping[str, bytes]
  camera: Camera
  joints: tuple[Joint, ...]


def draw_scene(*, seed: int, split: str, scene: int) -> Scene:
  """Draws scene number `scene` of a split.

  Raises:
    ValueError: The split is unknown.
  """
  if split not in SPLITS:
    raise ValueError(f'unknown split {split!r}; known: {", ".join(SPLITS)}')
  motion = CLASS_NAMES[class_of(scene)]
  return draw_motion_scene(motion, (seed, SPLITS[split], scene))


def class_of(scene: int) -> int:
  """The class of scene number `scene` of any split; classes go round."""
  return scene % len(CLASS_NAMES)


def draw_motion_scene(motion: str, key: tuple[int, int, int]) -> Scene:
  """Draws the scene that a class has under a key."""
  rng = np.random.default_rng([*key, _SCENE_STREAM])
  textures = physics_stage.draw_textures(rng)
  root, world = physics_stage.set_up(
    rng, weightless=motion in _WEIGHTLESS, untouched=motion in _UNTOUCHED
  )
  camera, joints = LOOKS[motion](rng, world, motion)
  physics_stage.add_motors(root, [joint.stiffness for joint in joints])
  return Scene(
    motion=motion,
    key=key,
    mjcf=ElementTree.tostring(root, 'unicode'),
    textures=textures,
    camera=camera,
    joints=tuple(joints),
  )


def _hover(rng, world, motion):
  """One to three solids in the air, turned anyhow."""
  camera = _draw_camera(rng)
  joints = []
  for i, (x, y, scale) in enumerate(_draw_places(rng)):
    place = (x, y, rng.uniform(0.45, 0.85))
    body = physics_stage.add(world, 'body', pos=place, quat=rng.normal(size=4))
    if motion == 'spin':
      physics_stage.add(body, 'joint', type='ball', damping=0.0005)
    else:
      physics_stage.add(body, 'freejoint')
    joints.append(Joint())
    shape = _draw_shape(rng, _SOLIDS, scale)
    physics_stage.add_solid(body, i, **shape)
  return camera, joints


def _lie(rng, world, motion):
  """One to three solids on the floor that could roll."""
  camera = _draw_camera(rng)
  joints = []
  for i, (x, y, scale) in enumerate(_draw_places(rng)):
    shape = _draw_shape(rng, _ROUND, scale)
    long = shape['type'] in ('cylinder', 'capsule')
    radius = shape['size'][0 if long else -1]
    yaw = rng.uniform(0, 2 * math.pi)
    body = physics_stage.add(world, 'body', pos=(x, y, radius + 0.002))
    if motion == 'roll':
      physics_stage.add(body, 'freejoint')
      joints.append(Joint(radius, yaw if long else None))
    # The body stays unturned, so that its frame is the world's.
    way = (yaw, math.pi / 2 if long else 0, 0)
    physics_stage.add_solid(body, i, euler=way, **shape)
  return camera, joints


def _stack(rng, world, motion):
  """Three to five blocks on each other."""
  del motion
  camera = _draw_camera(rng)
  width, top, joints = rng.uniform(0.14, 0.22), 0.0, []
  for i in range(rng.integers(3, 6)):
    size = (*width * rng.uniform(0.8, 1.2, 2), rng.uniform(0.1, 0.16))
    place = (*rng.uniform(-0.03, 0.03, 2), top + size[2])
    body = physics_stage.add(world, 'body', pos=place)
    physics_stage.add(body, 'freejoint')
    joints.append(Joint())
    physics_stage.add_solid(body, i, type='box', size=size)
    top += 2 * size[2] + 0.001
  return camera, joints


def _pendulum(rng, world, motion):
  """One or two double pendulums that swing across the view."""
  del motion
  camera = _draw_camera(rng, **_HANGING)
  axis = (math.cos(camera.azimuth), math.sin(camera.azimuth), 0)
  hinge = {'type': 'hinge', 'axis': axis, 'damping': 0.01}
  joints = []
  for side in ((0,), (-0.45, 0.45))[rng.integers(2)]:
    length = rng.uniform(0.3, 0.45)
    turns = (rng.uniform(-1.2, 1.2), rng.uniform(-1.2, 1.2))
    pivot = (-side * axis[1], side * axis[0], 1.35)
    _hang(rng, world, pivot, _Links(axis, length, turns, 0.08, hinge))
    joints += [Joint()] * len(turns)
  return camera, joints


def _chain(rng, world, motion):
  """A chain of six to nine links that hangs from one end."""
  del motion
  camera = _draw_camera(rng, **_HANGING)
  axis = (math.cos(camera.azimuth), math.sin(camera.azimuth), 0)
  count = rng.integers(6, 10)
  turns = (rng.uniform(-1.2, 1.2), *rng.uniform(-0.3, 0.3, count - 1))
  joint = {'type': 'ball', 'damping': 0.02}
  _hang(rng, world, (0, 0, 1.35), _Links(axis, 1 / count, turns, 0.07, joint))
  return camera, [Joint()] * count


class _Links(NamedTuple):
  """Rods in a row; each is turned about `axis` against the one before."""

  axis: tuple[float, float, float]
  length: float
  turns: tuple[float, ...]
  radius: float
  joint: dict


def _hang(rng, parent, place, links):
  """Adds the links, each at the end of the one before."""
  for i, turn in enumerate(links.turns):
    parent = physics_stage.add(
      parent, 'body', pos=place, axisangle=(*links.axis, turn)
    )
    physics_stage.add(parent, 'joint', **links.joint)
    place = (0, 0, -links.length)
    size = links.radius * rng.uniform(0.8, 1.3)
    rod = {'type': 'capsule', 'fromto': (0, 0, 0, *place), 'size': size}
    physics_stage.add_solid(parent, i, **rod)


def _walker(rng, world, motion):
  """A trunk on four legs with hip and knee."""
  del motion
  camera = _draw_camera(rng, height=0.35)
  trunk = rng.uniform((0.25, 0.12, 0.07), (0.4, 0.2, 0.12))
  thigh, shin = rng.uniform(0.2, 0.32, 2)
  yaw = rng.uniform(0, 2 * math.pi)
  place = (0, 0, thigh + shin + 0.06)
  body = physics_stage.add(world, 'body', pos=place, euler=(yaw, 0, 0))
  physics_stage.add(body, 'freejoint')
  physics_stage.add_solid(body, 0, type='box', size=trunk, density=300)
  joints = [Joint()]
  for x, y in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
    hip = physics_stage.add(
      body, 'body', pos=(x * trunk[0] * 0.8, y * trunk[1], 0)
    )
    physics_stage.add(
      hip, 'joint', axis=(0, 1, 0), range=(-1.2, 1.2), damping=0.4
    )
    end = (0, y * 0.08, -thigh)
    rod = {'type': 'capsule', 'fromto': (0, 0, 0, *end), 'size': 0.06}
    physics_stage.add_solid(hip, 1, **rod)
    knee = physics_stage.add(hip, 'body', pos=end)
    physics_stage.add(
      knee, 'joint', axis=(0, 1, 0), range=(-1.5, 1.5), damping=0.3
    )
    foot = (rng.uniform(-0.05, 0.05), 0, -shin)
    rod = {'type': 'capsule', 'fromto': (0, 0, 0, *foot), 'size': 0.055}
    physics_stage.add_solid(knee, 2, friction=(1.2, 0.02, 0.002), **rod)
    joints += [Joint(stiffness=30), Joint(stiffness=24)]
  return camera, joints


def _draw_camera(
  rng, *, elevation=(0.2, 0.65), distance=(1.9, 2.5), height=0.45
):
  return Camera(
    azimuth=rng.uniform(0, 2 * math.pi),
    elevation=rng.uniform(*elevation),
    distance=rng.uniform(*distance),
    height=height,
  )


def _draw_places(rng):
  """Places `(x, y)` around the middle, and how large a solid may be there."""
  count = rng.integers(1, 4)
  scale = (1.45, 1.1, 0.95)[count - 1]
  ring = rng.uniform(0.45, 0.6) if count > 1 else 0.0
  first = rng.uniform(0, 2 * math.pi)
  for i in range(count):
    angle = first + 2 * math.pi * i / count + rng.uniform(-0.2, 0.2)
    yield ring * math.cos(angle), ring * math.sin(angle), scale


def _draw_shape(rng, shapes, scale):
  kind = shapes[rng.integers(len(shapes))]
  size = scale * rng.uniform(0.13, 0.24, 3)
  if kind == 'ellipsoid':
    size *= (0.8, 1.25, 1)
  used = {'sphere': 1, 'capsule': 2, 'cylinder': 2}.get(kind, 3)
  return {'type': kind, 'size': tuple(size[:used])}


_WEIGHTLESS = ('float',)
# Their solids are held: pushing each other they would fling about.
_UNTOUCHED = ('pendulum', 'spin', 'chain')
_HANGING = {'elevation': (0.05, 0.35), 'distance': (2.2, 2.8), 'height': 0.9}
# No spheres in the air: one that spins may be hard to tell from one at rest.
_SOLIDS = ('box', 'capsule', 'cylinder', 'ellipsoid')
_ROUND = ('sphere', 'ellipsoid', 'cylinder', 'capsule')
LOOKS = {
  'toss': _hover,
  'float': _hover,
  'roll': _lie,
  'topple': _stack,
  'pendulum': _pendulum,
  'spin': _hover,
  'chain': _chain,
  'crawl': _walker,
  'orbit': _lie,
  'dolly': _lie,
}
CLASS_NAMES = tuple(LOOKS)
