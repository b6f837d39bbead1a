import pathlib
import pickle
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from framebridge_jax.data import digit_world
from framebridge_jax.data.builders import moving_digits

SMALL = {'train': 5, 'test': 3}
PREPARE = """
import sys
from framebridge_jax.data.builders import moving_digits
config = moving_digits.make_config('plain32', train=2, test=1)
records = moving_digits.open_records(config, 'test', data_dir=sys.argv[1])
print(records[0]['video'].pixels.shape, 'tensorflow' in sys.modules)
"""


@pytest.fixture(scope='module', autouse=True)
def quiet():
  tfds.disable_progress_bar()


def clip_bytes(records):
  return [
    records[i]['video'].pixels.tobytes() + bytes([records[i]['label']])
    for i in range(len(records))
  ]


@pytest.mark.parametrize('world', moving_digits.WORLDS)
@pytest.mark.parametrize('split', ['train', 'test'])
def test_records_are_the_clips_of_the_world(tmp_path, world, split):
  config = moving_digits.make_config(world, **SMALL, seed=4)
  records = moving_digits.open_records(config, split, data_dir=tmp_path)
  assert len(records) == SMALL[split]
  for scene in range(len(records)):
    video, label = digit_world.make_clip(
      config.world, seed=4, split=split, scene=scene
    )
    record = records[scene]
    np.testing.assert_array_equal(record['video'].pixels, video)
    assert (record['label'], record['scene']) == (label, scene)


def test_preparing_twice_gives_the_same_bytes(tmp_path):
  config = moving_digits.make_config('textured32', **SMALL)
  files = []
  for name in ('one', 'two'):
    moving_digits.open_records(config, 'train', data_dir=tmp_path / name)
    found = sorted((tmp_path / name).rglob('*.array_record*'))
    assert len(found) == 2
    files.append([path.read_bytes() for path in found])
  assert files[0] == files[1]


def test_other_parameters_never_read_the_same_directory(tmp_path):
  asked = [
    {'train': 5, 'test': 3},
    {'train': 6, 'test': 3},
    {'train': 5, 'test': 4},
    {'train': 5, 'test': 3, 'seed': 1},
  ]
  seen = set()
  for parameters in asked:
    config = moving_digits.make_config('plain32', **parameters)
    for split in SMALL:
      records = moving_digits.open_records(config, split, data_dir=tmp_path)
      assert len(records) == parameters[split]
    seen.add(clip_bytes(records)[0])
  assert len(seen) == 2  # two seeds


def test_an_interrupted_preparation_begins_anew(tmp_path, monkeypatch):
  config = moving_digits.make_config('plain32', **SMALL)
  make_clip = digit_world.make_clip

  def interrupted(world, *, scene, **kwargs):
    if scene == 3:
      raise KeyboardInterrupt
    return make_clip(world, scene=scene, **kwargs)

  with monkeypatch.context() as patch:
    patch.setattr(digit_world, 'make_clip', interrupted)
    with pytest.raises(KeyboardInterrupt):
      moving_digits.open_records(config, 'train', data_dir=tmp_path)
  again = moving_digits.open_records(config, 'train', data_dir=tmp_path)
  fresh = moving_digits.open_records(config, 'train', data_dir=tmp_path / 'new')
  assert clip_bytes(again) == clip_bytes(fresh)


def test_records_travel_to_other_processes(tmp_path):
  config = moving_digits.make_config('plain32', **SMALL)
  records = moving_digits.open_records(config, 'train', data_dir=tmp_path)
  copy = pickle.loads(pickle.dumps(records))
  assert clip_bytes(copy) == clip_bytes(records)


def test_preparing_imports_no_tensorflow(tmp_path):
  result = subprocess.run(
    [sys.executable, '-c', PREPARE, str(tmp_path)],
    cwd=pathlib.Path(__file__).parents[2],
    capture_output=True,
    text=True,
    check=True,
  )
  assert result.stdout.splitlines()[-1] == '(16, 32, 32, 3) False'


def test_an_unknown_world_lists_the_known():
  with pytest.raises(ValueError, match="'plain'; known: plain32, textured32"):
    moving_digits.make_config('plain')


def test_an_empty_split_is_refused():
  with pytest.raises(ValueError, match='train has 0 clips'):
    moving_digits.make_config('plain32', train=0)


def test_the_usual_counts_name_a_data_set_too(tmp_path):
  """TFDS refuses a config that equals one that a builder lists."""
  config = moving_digits.make_config('plain32')
  moving_digits.MovingDigits(config=config, data_dir=str(tmp_path))
