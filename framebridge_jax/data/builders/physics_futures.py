"""Futures of physics_motion: what the first frame does not show.

A future is a function of `(seed, split, scene, future)` alone: speeds at the
start, the gait of a walker, the path of the camera.
"""

import math
from typing import NamedTuple

import numpy as np

from framebridge_jax.data.builders import physics_scenes

_FUTURE_STREAM = 13


class Path(NamedTuple):
  """How the camera moves: radians a second, and the rate of its distance."""

  azimuth: float = 0.0
  elevation: float = 0.0
  zoom: float = 0.0


class Gait(NamedTuple):
  """Angles of the motors, `amplitudes * sin(rate * t + phases)`."""

  rate: float = 0.0
  phases: tuple[float, ...] = ()
  amplitudes: tuple[float, ...] = ()


class Future(NamedTuple):
  """How a scene goes on; `speeds` follow MuJoCo's order of joints."""

  speeds: tuple[float, ...]
  gait: Gait = Gait()
  path: Path = Path()


def draw_future(scene: physics_scenes.Scene, *, future: int) -> Future:
  """Draws future number `future` of a scene."""
  rng = np.random.default_rng([*scene.key, _FUTURE_STREAM, future])
  return MOTIONS[scene.motion](rng, scene)


def camera_at(
  camera: physics_scenes.Camera, path: Path, time: float
) -> physics_scenes.Camera:
  """Where the camera is after `time` seconds; it stays above the floor."""
  elevation = camera.elevation + path.elevation * time
  return camera._replace(
    azimuth=camera.azimuth + path.azimuth * time,
    elevation=min(max(elevation, _LOWEST), _HIGHEST),
    distance=camera.distance * math.exp(path.zoom * time),
  )


def angles_at(gait: Gait, time: float) -> np.ndarray:
  """What the motors are asked for; they set in gently."""
  swing = np.sin(gait.rate * time + np.array(gait.phases))
  return min(1.0, time / _SETTING_IN) * np.array(gait.amplitudes) * swing


def _toss(rng, scene):
  speeds = [
    [*rng.normal(0, 0.8, 2), rng.uniform(0.3, 3.0), *rng.normal(0, 5, 3)]
    for _ in scene.joints
  ]
  return _moving(speeds)


def _float(rng, scene):
  return _moving(
    [[*rng.normal(0, 0.7, 3), *rng.normal(0, 3, 3)] for _ in scene.joints]
  )


def _roll(rng, scene):
  return _moving([_rolling(rng, joint) for joint in scene.joints])


def _rolling(rng, joint):
  """Speeds at which the lowest point of a solid rests on the floor."""
  heading = rng.uniform(0, 2 * math.pi)
  if joint.axis is not None:  # it can only roll across its axis
    heading = joint.axis + math.copysign(math.pi / 2, heading - math.pi)
  speed = rng.uniform(0.6, 2.2)
  x, y = speed * math.cos(heading), speed * math.sin(heading)
  return [x, y, 0, -y / joint.radius, x / joint.radius, 0]


def _topple(rng, scene):
  """One block is struck."""
  speeds = [[0.0] * 6 for _ in scene.joints]
  heading, speed = rng.uniform(0, 2 * math.pi), rng.uniform(2.5, 6.0)
  x, y = speed * math.cos(heading), speed * math.sin(heading)
  struck = rng.integers(len(speeds))
  speeds[struck] = [x, y, 0, *rng.normal(0, 2, 3)]
  return _moving(speeds)


def _pendulum(rng, scene):
  return _moving([rng.normal(0, 4, 1) for _ in scene.joints])


def _chain(rng, scene):
  spread = [2.5] + [0.8] * (len(scene.joints) - 1)
  return _moving([rng.normal(0, s, 3) for s in spread])


def _spin(rng, scene):
  speeds = []
  for _ in scene.joints:
    axis = rng.normal(size=3)
    speeds.append(rng.uniform(3, 7) * axis / np.linalg.norm(axis))
  return _moving(speeds)


def _crawl(rng, scene):
  motors = sum(joint.stiffness > 0 for joint in scene.joints)
  gait = Gait(
    rate=rng.uniform(4, 12),
    phases=tuple(rng.uniform(0, 2 * math.pi, motors)),
    amplitudes=tuple(rng.uniform(0.5, 1.1, motors)),
  )
  return Future(speeds=(0.0,) * (6 + motors), gait=gait)


def _orbit(rng, scene):
  del scene
  turn = rng.choice((-1, 1)) * rng.uniform(0.55, 2.0)
  return Future((), path=Path(azimuth=turn, elevation=rng.normal(0, 0.17)))


def _dolly(rng, scene):
  del scene
  azimuth, elevation = rng.normal(0, 0.11, 2)
  zoom = rng.choice((-1, 1)) * rng.uniform(0.35, 0.75)
  return Future((), path=Path(azimuth, elevation, zoom))


def _moving(speeds):
  return Future(tuple(float(s) for joint in speeds for s in joint))


_LOWEST, _HIGHEST = 0.03, 1.2
_SETTING_IN = 0.15
MOTIONS = {
  'toss': _toss,
  'float': _float,
  'roll': _roll,
  'topple': _topple,
  'pendulum': _pendulum,
  'spin': _spin,
  'chain': _chain,
  'crawl': _crawl,
  'orbit': _orbit,
  'dolly': _dolly,
}
