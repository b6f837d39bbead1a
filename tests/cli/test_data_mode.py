"""A data set is prepared, looked at, and trained on."""

import functools
import json

import films
import jax
import ml_collections
import numpy as np
import pytest
from PIL import Image

import commands as cli
from configs import digit_reader
from framebridge_jax import check
from framebridge_jax.cli import configs as recipes
from framebridge_jax.cli import data, evaluate, train
from framebridge_jax.data import encoded, sources
from framebridge_jax.training import logging as run_logging

RECIPE = cli.ROOT / 'framebridge_jax' / 'recipes' / 'data.py'


@pytest.fixture(scope='module')
def videos(tmp_path_factory):
  """Two classes, a caption, a damaged file; frames enough for any stride."""
  folder = tmp_path_factory.mktemp('videos')
  for name, count, side in (
    ('train/sea/a', 40, 32),
    ('train/sea/b', 60, 32),
    ('train/sky/c', 50, 48),
    ('train/sky/d', 50, 32),
    ('test/sea/e', 24, 32),
    ('test/sky/f', 24, 32),
  ):
    path = folder / f'{name}.mp4'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(films.encode('mp4', films.frames(count, side, 32)))
  (folder / 'train/sea/a.txt').write_text('a column runs over the water')
  (folder / 'train/sea/bad.mp4').write_bytes(b'<html>')
  return folder


def look(workdir, **changed):
  config = recipes.load_recipe(str(RECIPE))
  config.update_from_flattened_dict({'inspect': True, **changed})
  data.run(config, workdir)
  return json.loads((workdir / 'data.json').read_text())


def test_inspecting_tells_what_there_is(videos, tmp_path):
  found = look(tmp_path, data_dir=str(videos), **{'data.max_bad_fraction': 0.2})
  train = found['train']
  assert train['clips'] == 4
  assert train['frames'] == {
    'total': 200,
    'least': 40,
    'median': 50,
    'most': 60,
  }
  assert train['seconds']['total'] == pytest.approx(200 / 24, abs=0.01)
  assert train['fps'] == {'24': 4}
  assert train['sizes'] == {'32x32': 3, '32x48': 1}
  assert train['classes'] == {'sea': 2, 'sky': 2}
  (name,) = train['skipped']
  assert name == 'train/sea/bad.mp4'
  assert 'damaged or no video' in train['skipped'][name]
  assert (found['test']['clips'], found['test']['skipped']) == (2, {})
  with Image.open(tmp_path / 'train.png') as sheet:
    wide, high = sheet.size
  # Four clips of eight frames of 64 pixels.
  assert 4 * 64 < high < 5 * 64 + 64
  assert wide > 8 * 64


def test_the_sheet_shows_the_clips_from_their_first_to_their_last_frame(
  videos, tmp_path
):
  look(
    tmp_path,
    data_dir=str(videos),
    **{'data.max_bad_fraction': 0.2, 'data.size': 32, 'splits': ('test',)},
  )
  data_of = (videos / 'test/sea/e.mp4').read_bytes()
  with Image.open(tmp_path / 'test.png') as image:
    sheet = np.asarray(image)
  clip = encoded.Encoded(data_of, 24).read([0, 23], 32)
  for frame in clip:
    windows = np.lib.stride_tricks.sliding_window_view(sheet, frame.shape)
    assert (windows[..., 0, :, :, :] == frame).all((2, 3, 4)).any()


def test_other_data_sets_are_looked_at_too(videos, tmp_path):
  found = look(
    tmp_path,
    dataset='moving_digits',
    **{'data.size': 32, 'data.train_clips': 20, 'data.test_clips': 3},
  )
  assert found['train']['clips'] == 20
  assert found['train']['classes'] == {str(i): 2 for i in range(10)}
  assert (found['train']['sizes'], found['train']['seconds']) == ({}, {})
  mixed = look(
    tmp_path / 'mixed',
    dataset='prepared_folder+moving_digits',
    data_dir=f'{videos},',
    cache_dir=str(tmp_path / 'data'),
    **{
      'data.size': 32,
      'data.train_clips': 20,
      'data.test_clips': 3,
      'data.max_bad_fraction': 0.2,
    },
  )
  assert mixed['train']['clips'] == 24
  assert mixed['train']['classes']['prepared_folder/sea'] == 2
  assert mixed['train']['classes']['moving_digits/9'] == 2
  assert list(mixed['train']['skipped']) == [
    'prepared_folder/train/sea/bad.mp4'
  ]


def test_without_inspect_the_data_set_is_prepared_alone(videos, tmp_path):
  config = recipes.load_recipe(str(RECIPE))
  config.update_from_flattened_dict(
    {'data_dir': str(videos), 'data.max_bad_fraction': 0.2}
  )
  data.run(config, tmp_path)
  assert [path.name for path in tmp_path.iterdir()] == ['data']
  assert list(tmp_path.rglob('*.array_record*'))


def test_a_clip_that_rots_after_it_was_prepared_is_told(
  videos, tmp_path, monkeypatch
):
  changed = {'data_dir': str(videos), 'data.max_bad_fraction': 0.2}
  look(tmp_path, **changed)
  read = encoded.Encoded.read

  def rotten(self, *args):
    if self.name.endswith('b.mp4'):
      self = encoded.Encoded(self.data[:100], self.length, (), self.name)
    return read(self, *args)

  monkeypatch.setattr(encoded.Encoded, 'read', rotten)
  found = look(tmp_path, **changed)['train']
  assert list(found['unreadable']) == ['train/sea/b.mp4']


@pytest.mark.parametrize(
  ('changes', 'says'),
  [
    ({}, 'data set prepared_folder needs a folder; set data_dir'),
    ({'data_dir': 'nowhere'}, "data_dir is 'nowhere', no folder"),
    ({'dataset': 'ucf'}, "dataset is 'ucf', want one of moving_digits"),
    ({'dataset': 'ucf101:fold=4'}, "fold is '4', want one of 01"),
    ({'dataset': 'folder+folder', 'data_dir': 'a'}, 'names 1 folders; give'),
    ({'splits': ()}, 'splits is \\(\\), want one or more'),
    ({'clips': 0}, 'clips is 0'),
    ({'data.max_bad_fraction': 2.0}, 'data.max_bad_fraction is 2.0'),
  ],
)
def test_what_cannot_be_looked_at_is_refused(tmp_path, changes, says):
  with pytest.raises((check.ConfigError, ValueError), match=says):
    look(tmp_path, **changes)


def test_held_out_clips_that_went_bad_are_left_out(monkeypatch, tmp_path):
  film = films.encode('mp4', films.frames(12))
  records = [
    {'video': encoded.Encoded(film, 12), 'label': 0},
    {'video': encoded.Encoded(b'<html>', 12, (), 'b.mp4'), 'label': 1},
    {'video': encoded.Encoded(film, 12), 'label': 2},
    {'video': encoded.Encoded(film, 12), 'label': 3},
  ]
  source = sources.Source(records=records, class_names=('x',) * 4)
  monkeypatch.setattr(evaluate.build, 'make_source', lambda *args: source)
  config = ml_collections.ConfigDict(
    {
      'data': {'size': 32, 'frames': 3, 'stride': 4},
      'num_clips': 2,
      'dataset': 'x',
    }
  )
  truth, labels = evaluate.held_out(config, tmp_path)
  np.testing.assert_array_equal(labels, [0, 2])
  np.testing.assert_array_equal(
    truth, [encoded.Encoded(film, 12).read([0, 4, 8], 32)] * 2
  )
  del records[2:], records[0]
  with pytest.raises(ValueError, match='no clip of x can be decoded'):
    evaluate.held_out(config, tmp_path)


@pytest.fixture
def compiled_quickly():
  """A step is taken twice, and need not be quick."""
  jax.config.update('jax_disable_most_optimizations', True)
  yield
  jax.config.update('jax_disable_most_optimizations', False)


@pytest.mark.usefixtures('compiled_quickly')
def test_training_streams_prepared_data_past_clips_that_went_bad(
  videos, tmp_path, monkeypatch
):
  """A mixture, mirrored, of drawn strides."""
  config = digit_reader.get_config()
  config.update_from_flattened_dict(
    {
      'dataset': 'prepared_folder+moving_digits',
      'data_dir': f'{videos},',
      'cache_dir': str(tmp_path / 'cache'),
      'data.train_clips': 20,
      'data.test_clips': 3,
      'data.max_bad_fraction': 0.2,
      'data.max_stride': 4,
      'data.flip': True,
      'data.weights': (2.0, 1.0),
      'data.frames': 4,
      'model.classes': -1,
      'train.num_steps': 2,
      'train.batch_size': 8,
    }
  )
  # The compiler is quicker for one device.
  one = functools.partial(train.sharding.make_mesh, devices=jax.devices()[:1])
  monkeypatch.setattr(train.sharding, 'make_mesh', one)
  read = encoded.Encoded.read

  def rotten(self, *args):
    if self.name.endswith(('b.mp4', 'c.mp4')):
      self = encoded.Encoded(self.data[:100], self.length, (), self.name)
    return read(self, *args)

  monkeypatch.setattr(encoded.Encoded, 'read', rotten)
  train.run(config, tmp_path / 'run')
  lines = list(run_logging.read(tmp_path / 'run' / 'metrics.jsonl'))
  assert [np.isfinite(line['loss']) for line in lines] == [True, True]
  assert sum(line.get('replaced', 0) for line in lines) > 0
  saved = json.loads((tmp_path / 'run' / 'config.json').read_text())
  assert saved['model']['classes'] == 12
