import itertools
import os
import pickle
import re

import numpy as np
import pytest
import tensorflow_datasets as tfds

from framebridge_jax.data import clips
from framebridge_jax.data.builders import (
  physics_futures,
  physics_motion,
  physics_pool,
  physics_render,
  physics_scenes,
)

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
SPLITS = ('train', 'test', 'multi')
FAKE_MUJOCO = """
import os

class GLContext:
  def __init__(self, width, height):
    why = {faults!r}[os.environ['MUJOCO_GL']]
    if why == 'abort':
      os.abort()
    if why:
      raise ImportError(why)
  def make_current(self):
    pass
"""


@pytest.fixture(scope='module', autouse=True)
def quiet():
  tfds.disable_progress_bar()


@pytest.fixture(scope='module')
def sample():
  """The committed clips: split -> records."""
  return {
    split: list(read(physics_motion.open_sample(split))) for split in SPLITS
  }


def read(records):
  for i in range(len(records)):
    yield records[i]


def pixels(record):
  video = record['video']
  return video.read(range(len(video)), 32).astype(int)


def test_the_sample_has_twenty_clips_of_the_ten_classes(sample):
  assert [len(sample[split]) for split in SPLITS] == [10, 2, 8]
  assert [record['caption'] for record in sample['train']] == CLASSES
  assert physics_motion.open_sample('test').class_names == tuple(CLASSES)
  for split, records in sample.items():
    for record in records:
      assert record['video'].pixels.shape == (16, 32, 32, 3)
      assert record['label'] == record['scene'] % 10
      assert record['fps'] == pytest.approx(16.67, abs=0.01)
      assert record['name'].startswith(split)
  names = [r['name'] for records in sample.values() for r in records]
  assert len(set(names)) == 20


def test_futures_of_a_scene_share_the_first_frame_and_part_later(sample):
  scenes = itertools.groupby(sample['multi'], lambda record: record['scene'])
  for scene, records in scenes:
    futures = [pixels(record) for record in records]
    assert len(futures) == 4, scene
    for one, other in itertools.combinations(futures, 2):
      np.testing.assert_array_equal(one[0], other[0])
      assert np.abs(one - other).mean((1, 2, 3)).max() > 4


def test_every_clip_of_the_sample_moves(sample):
  for record in itertools.chain(*sample.values()):
    video = pixels(record)
    changed = np.abs(video - video[0]).max(-1) > 24
    assert changed.mean((1, 2)).max() > 0.02, record['name']
    assert np.abs(np.diff(video, axis=0)).mean((1, 2, 3)).min() > 0


def test_every_scene_of_the_sample_has_a_look_of_its_own(sample):
  first = [pixels(r)[0] for s in ('train', 'test') for r in sample[s]]
  first += [pixels(record)[0] for record in sample['multi'][::4]]
  for one, other in itertools.combinations(first, 2):
    assert np.abs(one - other).mean() > 15


def test_the_name_tells_all_that_decides_the_clips():
  changes = [{}, {'size': 32}, {'frames': 8}, {'train': 9}, {'test': 9}]
  changes += [{'scenes': 9}, {'futures': 9}, {'seed': 9}]
  names = {physics_motion.make_config(**change).name for change in changes}
  assert len(names) == len(changes)


@pytest.mark.parametrize(
  ('change', 'says'),
  [
    ({'size': 8}, 'size is 8; it must be at least 16'),
    ({'frames': 1}, 'frames is 1; it must be at least 2'),
    ({'futures': 0}, 'futures is 0; it must be at least 1'),
    ({'seed': -1}, 'seed is -1'),
  ],
)
def test_numbers_that_are_too_small_are_refused(change, says):
  with pytest.raises(ValueError, match=says):
    physics_motion.make_config(**change)


@pytest.fixture
def drawn_here(monkeypatch):
  """Clips of noise in place of rendered ones, made in this process."""

  def render_scene(scene, *, futures, size, frames, backend):
    assert backend == 'none'
    for future in range(futures):
      rng = np.random.default_rng([*scene.key, future])
      yield rng.integers(0, 256, (frames, size, size, 3), np.uint8)

  monkeypatch.setattr(physics_render, 'choose_backend', lambda: 'none')
  monkeypatch.setattr(physics_render, 'render_scene', render_scene)
  monkeypatch.setattr(
    physics_pool,
    'in_order',
    lambda call, count, workers: map(call, range(count)),
  )


def test_a_data_set_holds_the_futures_of_its_scenes_in_order(
  tmp_path, drawn_here
):
  counts = {'train': 3, 'test': 2, 'scenes': 2, 'futures': 3}
  config = physics_motion.make_config(size=16, frames=4, seed=5, **counts)
  for split, scenes, futures in (
    ('train', 3, 1),
    ('test', 2, 1),
    ('multi', 2, 3),
  ):
    records = physics_motion.open_records(config, split, data_dir=tmp_path)
    assert len(records) == scenes * futures
    asked = itertools.product(range(scenes), range(futures))
    copy = pickle.loads(pickle.dumps(records))
    for record, (scene, future) in zip(read(copy), asked, strict=True):
      assert (record['scene'], record['future']) == (scene, future)
      rng = np.random.default_rng([5, SPLITS.index(split), scene, future])
      clip = rng.integers(0, 256, (4, 16, 16, 3), np.uint8)
      np.testing.assert_array_equal(record['video'].pixels, clip)
  with pytest.raises(ValueError, match="'valid'; known: train, test, multi"):
    physics_motion.open_records(config, 'valid', data_dir=tmp_path)


def test_an_interrupted_preparation_begins_anew(
  tmp_path, drawn_here, monkeypatch
):
  config = physics_motion.make_config(size=16, train=3, test=1, scenes=1)
  encode_strip = clips.encode_strip
  count = iter(range(2))

  def interrupted(video):
    if next(count, None) is None:
      raise KeyboardInterrupt
    return encode_strip(video)

  with monkeypatch.context() as patch:
    patch.setattr(clips, 'encode_strip', interrupted)
    with pytest.raises(KeyboardInterrupt):
      physics_motion.open_records(config, 'train', data_dir=tmp_path)
  records = physics_motion.open_records(config, 'train', data_dir=tmp_path)
  assert [record['scene'] for record in read(records)] == [0, 1, 2]


def test_without_mujoco_the_extra_is_named(tmp_path, monkeypatch):
  monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
  config = physics_motion.make_config()
  with pytest.raises(physics_render.RenderingError, match=r'jax\[physics\]'):
    physics_motion.open_records(config, 'train', data_dir=tmp_path)


@pytest.fixture
def fake_mujoco(tmp_path, monkeypatch):
  """Makes a MuJoCo whose ways to OpenGL have given faults."""

  def make(**faults):
    (tmp_path / 'mujoco.py').write_text(FAKE_MUJOCO.format(faults=faults))
    path = os.pathsep.join([str(tmp_path), os.environ.get('PYTHONPATH', '')])
    monkeypatch.setenv('PYTHONPATH', path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv('MUJOCO_GL', raising=False)

  return make


def test_the_second_way_to_opengl_is_taken_where_the_first_fails(fake_mujoco):
  fake_mujoco(egl='no libEGL.so', osmesa='')
  assert physics_render.choose_backend() == 'osmesa'


def test_where_no_way_to_opengl_works_each_reason_is_told(fake_mujoco):
  fake_mujoco(egl='no libEGL.so\n  found', osmesa='abort')
  says = re.escape(
    'egl: ImportError: no libEGL.so found; '
    'osmesa: the trial ended with code -6); install'
  )
  with pytest.raises(
    physics_render.RenderingError, match=f'{says}.* libegl1 .* libosmesa6'
  ):
    physics_render.choose_backend()


def test_only_the_asked_way_to_opengl_is_tried(fake_mujoco, monkeypatch):
  fake_mujoco(egl='', osmesa='no libOSMesa.so')
  monkeypatch.setenv('MUJOCO_GL', 'osmesa')
  with pytest.raises(physics_render.RenderingError, match=r'\(osmesa: Imp'):
    physics_render.choose_backend()


@pytest.fixture(scope='module')
def renderer():
  try:
    return physics_render.choose_backend()
  except physics_render.RenderingError as error:
    pytest.skip(str(error))


@pytest.mark.slow
def test_rendering_gives_the_sample_for_any_number_of_workers(
  tmp_path, renderer, sample
):
  for split in SPLITS:
    found = [
      physics_motion.open_records(
        physics_motion.SAMPLE, split, data_dir=tmp_path / f'{n}', workers=n
      )
      for n in (1, 2)
    ]
    for one, two, kept in zip(*map(read, found), sample[split], strict=True):
      np.testing.assert_array_equal(pixels(one), pixels(two))
      change = np.abs(pixels(one) - pixels(kept))
      # Another driver draws edges otherwise; scenes differ by more than 15.
      assert change[0].mean() < 1.5
      assert change.mean() < 4


@pytest.mark.slow
@pytest.mark.parametrize('motion', CLASSES)
def test_mujoco_follows_a_scene_and_its_future(renderer, motion):
  import mujoco

  for number in range(10):
    scene = physics_scenes.draw_motion_scene(motion, (0, 0, number))
    future = physics_futures.draw_future(scene, future=0)
    model = mujoco.MjModel.from_xml_string(scene.mjcf, dict(scene.textures))
    assert model.nv == len(future.speeds)
    assert model.nu == len(future.gait.phases)
    names = [model.joint(i).name for i in range(model.njnt)]
    assert names == [f'joint{i}' for i in range(len(scene.joints))]
