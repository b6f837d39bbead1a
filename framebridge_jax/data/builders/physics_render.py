"""Clips of physics_motion: MuJoCo moves a scene, OpenGL draws it.

No screen is needed: OpenGL comes from EGL or OSMesa, libraries of the system.
A clip is drawn larger than asked for, and averaged.  Its bytes depend on the
scene and the future; on another processor, driver or release of MuJoCo the last
bits may differ, and with them how bodies bounce.
"""

import atexit
import functools
import importlib.util
import math
import os
import subprocess
import sys
from collections.abc import Iterator

import einops
import numpy as np

from framebridge_jax.data import clips
from framebridge_jax.data.builders import physics_futures, physics_scenes

BACKENDS = ('egl', 'osmesa')
SECONDS_A_FRAME = 0.06

# Frames are drawn this many times larger, and of this side at least.
_LEAST_TIMES, _LEAST_SIDE = 2, 96
_TRIAL = """
import os
try:
  import mujoco
  mujoco.GLContext(64, 64).make_current()
except BaseException as error:
  print(f'{type(error).__name__}: {error}', flush=True)
  os._exit(1)
os._exit(0)
"""


class RenderingError(ValueError):
  """Nothing can be rendered on this machine."""


def choose_backend() -> str:
  """The first of BACKENDS that works here, or the one that MUJOCO_GL names.

  Raises:
    RenderingError: MuJoCo is not installed, or no backend works.
  """
  if importlib.util.find_spec('mujoco') is None:
    raise RenderingError(
      'physics_motion is rendered by MuJoCo, which is not installed; run '
      "pip install 'framebridge_jax[physics]', or prepare the data set where "
      'MuJoCo is and copy it'
    )
  asked = os.environ.get('MUJOCO_GL')
  reasons = []
  for backend in (asked,) if asked else BACKENDS:
    reason = _try(backend)
    if not reason:
      return backend
    reasons.append(f'{backend}: {reason}')
  raise RenderingError(
    f'no OpenGL without a screen was found ({"; ".join(reasons)}); install a '
    'package of the system: libegl1 with libgl1-mesa-dri or the driver of the '
    'GPU, or libosmesa6 (names of Debian and Ubuntu), or prepare the data set '
    'where there is one and copy it'
  )


def _try(backend):
  """Why a backend does not work, or nothing; a process loads only one."""
  result = subprocess.run(
    [sys.executable, '-c', _TRIAL],
    env={**os.environ, 'MUJOCO_GL': backend},
    stdout=subprocess.PIPE,
    stderr=subprocess.DEVNULL,
    text=True,
  )
  if not result.returncode:
    return ''
  said = ' '.join(result.stdout.split())
  return said or f'the trial ended with code {result.returncode}'


def render_scene(
  scene: physics_scenes.Scene,
  *,
  futures: int,
  size: int,
  frames: int,
  backend: str,
) -> Iterator[clips.Video]:
  """Renders futures 0, 1, ... of a scene; all begin with the same frame.

  Args:
    scene: What stands where.
    futures: How many clips.
    size: Side of a clip in pixels.
    frames: Frames of a clip.
    backend: What `choose_backend` gave, the same for the whole process.
  """
  times = max(_LEAST_TIMES, _LEAST_SIDE // size)
  player = _Player(_load(backend), scene, size, times)
  try:
    for number in range(futures):
      future = physics_futures.draw_future(scene, future=number)
      yield player.play(future, frames)
  finally:
    player.close()


def _shrink(pixels, times):
  """Averages squares of pixels, rounding half up."""
  total = einops.reduce(
    pixels.astype(np.uint32), '(h v) (w u) c -> h w c', 'sum', v=times, u=times
  )
  return ((total + times**2 // 2) // times**2).astype(np.uint8)


@functools.cache
def _load(backend):
  """Loads MuJoCo, and makes OpenGL ready for the rest of the process."""
  # One thread each, where Mesa draws: scenes are shared among processes.
  os.environ |= {'MUJOCO_GL': backend, 'LP_NUM_THREADS': '1'}
  mujoco = importlib.import_module('mujoco')
  # Its size is of no account: what is drawn goes to a buffer of its own.
  context = mujoco.GLContext(64, 64)
  context.make_current()
  # Its end must come before that of the libraries that free it.
  atexit.register(context.free)
  return mujoco


class _Player:
  """A scene in MuJoCo, its textures in the memory of OpenGL."""

  def __init__(self, mujoco, scene, size, times):
    self._mujoco = mujoco
    self._scene = scene
    self._size = size
    self._times = times
    model = mujoco.MjModel.from_xml_string(scene.mjcf, dict(scene.textures))
    model.vis.global_.offwidth = model.vis.global_.offheight = size * times
    self._model = model
    font = mujoco.mjtFontScale.mjFONTSCALE_50.value
    self._canvas = mujoco.MjrContext(model, font)
    offscreen = mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value
    mujoco.mjr_setBuffer(offscreen, self._canvas)
    self._view = mujoco.MjvScene(model, maxgeom=100)
    self._view.flags[mujoco.mjtRndFlag.mjRND_REFLECTION.value] = 0

  def close(self):
    self._canvas.free()

  def play(self, future, frames):
    """Moves the scene from its start, and draws `frames` of it."""
    data = self._mujoco.MjData(self._model)
    data.qvel[:] = future.speeds
    self._mujoco.mj_forward(self._model, data)
    steps = round(SECONDS_A_FRAME / self._model.opt.timestep)
    video = np.empty((frames, self._size, self._size, 3), np.uint8)
    for frame in range(frames):
      video[frame] = _shrink(self._draw(data, future.path), self._times)
      for _ in range(steps):
        if future.gait.rate:
          data.ctrl[:] = physics_futures.angles_at(future.gait, data.time)
        self._mujoco.mj_step(self._model, data)
    return video

  def _draw(self, data, path):
    place = physics_futures.camera_at(self._scene.camera, path, data.time)
    camera = self._mujoco.MjvCamera()
    camera.lookat[:] = 0, 0, place.height
    camera.azimuth = math.degrees(place.azimuth)
    camera.elevation = -math.degrees(place.elevation)
    camera.distance = place.distance
    everything = self._mujoco.mjtCatBit.mjCAT_ALL.value
    options = self._mujoco.MjvOption()
    self._mujoco.mjv_updateScene(
      self._model, data, options, None, camera, everything, self._view
    )
    side = self._size * self._times
    frame = self._mujoco.MjrRect(0, 0, side, side)
    pixels = np.empty((side, side, 3), np.uint8)
    self._mujoco.mjr_render(frame, self._view, self._canvas)
    self._mujoco.mjr_readPixels(pixels, None, frame, self._canvas)
    return pixels[::-1]  # OpenGL's rows go upwards
