"""What physics_motion draws before anything is rendered."""

import io
import math
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from framebridge_jax.data.builders import physics_futures, physics_scenes

CLASSES = [
  'toss',
  'float',
  'roll',
  'topple',
  'pendulum',
  'spin',
  'chain',
  'crawl',
  'orbit',
  'dolly',
]
# Speeds that MuJoCo keeps for a joint.
SPEEDS = {'freejoint': 6, 'ball': 3, 'hinge': 1}


def scene_of(motion, number=0):
  return physics_scenes.draw_motion_scene(motion, (0, 0, number))


@pytest.mark.parametrize('number', range(12))
def test_a_scene_is_drawn_alike_each_time_and_unlike_any_other(number):
  place = {'seed': 3, 'split': 'train', 'scene': number}
  scene = physics_scenes.draw_scene(**place)
  assert physics_scenes.draw_scene(**place) == scene
  for change in ({'seed': 4}, {'split': 'multi'}, {'scene': number + 10}):
    other = physics_scenes.draw_scene(**place | change)
    assert other.motion == scene.motion == CLASSES[number % 10]
    assert other.mjcf != scene.mjcf
    assert other.textures['floor.png'] != scene.textures['floor.png']


def test_an_unknown_split_is_refused():
  with pytest.raises(ValueError, match="'valid'; known: train, test, multi"):
    physics_scenes.draw_scene(seed=0, split='valid', scene=0)


@pytest.mark.parametrize('motion', CLASSES)
def test_futures_of_a_scene_are_drawn_alike_each_time_and_all_differ(motion):
  scene = scene_of(motion)
  drawn = [physics_futures.draw_future(scene, future=f) for f in range(8)]
  assert physics_futures.draw_future(scene, future=7) == drawn[7]
  assert len(set(drawn)) == 8


@pytest.mark.parametrize(
  'alike', [('toss', 'float', 'spin'), ('roll', 'orbit', 'dolly')]
)
@pytest.mark.parametrize('number', range(5))
def test_the_first_frame_does_not_tell_classes_of_one_look(alike, number):
  scenes = [scene_of(motion, number) for motion in alike]
  assert len({visible(scene) for scene in scenes}) == 1
  assert len({scene.mjcf for scene in scenes}) > 1
  assert scenes[0].textures == scenes[1].textures == scenes[2].textures


def visible(scene):
  """What a scene shows: all but joints, motors and gravity; and the camera."""
  root = ElementTree.fromstring(scene.mjcf)
  root.remove(root.find('option'))
  root.remove(root.find('actuator'))
  for body in root.iter('body'):
    for joint in body.findall('joint') + body.findall('freejoint'):
      body.remove(joint)
  return ElementTree.tostring(root), scene.camera


@pytest.mark.parametrize('motion', CLASSES)
@pytest.mark.parametrize('number', range(3))
def test_a_future_has_a_speed_for_every_way_to_move(motion, number):
  scene = scene_of(motion, number)
  future = physics_futures.draw_future(scene, future=0)
  root = ElementTree.fromstring(scene.mjcf)
  kinds = [
    'freejoint' if joint.tag == 'freejoint' else joint.get('type', 'hinge')
    for joint in root.iter()
    if joint.tag in ('joint', 'freejoint')
  ]
  assert len(scene.joints) == len(kinds)
  assert len(future.speeds) == sum(SPEEDS[kind] for kind in kinds)
  assert len(future.gait.phases) == len(root.find('actuator'))


@pytest.mark.parametrize('motion', CLASSES)
def test_no_future_shows_in_the_first_frame(motion):
  scene = scene_of(motion)
  for number in range(8):
    future = physics_futures.draw_future(scene, future=number)
    camera = physics_futures.camera_at(scene.camera, future.path, 0.0)
    assert camera == scene.camera
    assert not physics_futures.angles_at(future.gait, 0.0).any()


@pytest.mark.parametrize('number', range(8))
def test_a_rolling_solid_touches_the_floor_without_sliding(number):
  scene = scene_of('roll', number)
  future = physics_futures.draw_future(scene, future=0)
  speeds = np.reshape(future.speeds, (-1, 6))
  for joint, (*speed, x, y, z) in zip(scene.joints, speeds, strict=True):
    down = (0, 0, -joint.radius)
    np.testing.assert_allclose(speed + np.cross((x, y, z), down), 0, atol=1e-9)
    assert 0.6 <= np.hypot(*speed[:2]) <= 2.2
    if joint.axis is not None:
      axis = math.cos(joint.axis), math.sin(joint.axis), 0
      assert np.dot(speed, axis) == pytest.approx(0)


def test_the_camera_zooms_by_equal_factors_and_stays_above_the_floor():
  camera = physics_scenes.Camera(0.5, 0.2, 2.0, 0.4)
  path = physics_futures.Path(azimuth=1.0, elevation=-1.0, zoom=math.log(2))
  later = physics_futures.camera_at(camera, path, 0.9)
  assert later.azimuth == pytest.approx(1.4)
  assert later.distance == pytest.approx(2 * 2**0.9)
  assert later.elevation > 0


def test_textures_have_a_dark_and_a_light_colour():
  for number in range(10):
    for data in scene_of('toss', number).textures.values():
      image = np.asarray(Image.open(io.BytesIO(data)), float)
      assert image.shape == (64, 64, 3)
      value = image.max(-1)
      assert value.min() <= 102 < 178 <= value.max()
