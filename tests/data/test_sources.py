import shutil

import pytest

from framebridge_jax.data import sources

DIGITS = {'world': 'plain32', 'train': 3, 'test': 2}


def open_source(name, data_dir, options, **changed):
  asked = {'split': 'train', 'size': 32, 'frames': 8, 'stride': 2} | changed
  split = asked.pop('split')
  return sources.open_source(
    name, split, data_dir=data_dir, options=options, **asked
  )


@pytest.mark.parametrize('name', sources.DATASETS)
@pytest.mark.parametrize('split', sources.SPLITS)
def test_every_source_gives_clips_long_enough(tmp_path, carphone, name, split):
  shutil.copy(carphone, tmp_path / 'a.mp4')
  options = {'moving_digits': DIGITS, 'folder': {'path': tmp_path}}[name]
  source = open_source(name, tmp_path / 'data', options, split=split)
  for i in range(len(source.records)):
    record = source.records[i]
    assert record['video'].shape[1:] == (32, 32, 3)
    assert len(record['video']) >= 15
    assert 0 <= record['label'] < len(source.class_names)


@pytest.mark.parametrize(
  ('name', 'options', 'changed', 'says'),
  [
    ('digits', {}, {}, 'known: moving_digits, folder'),
    ('folder', {'path': '.'}, {'split': 'valid'}, 'known: train, test'),
    ('folder', {}, {}, r"options \[\]; it needs \['path'\]"),
    ('folder', {'path': '.', 'fps': 8}, {}, r'may have \[\]'),
    ('moving_digits', {'train': 3}, {}, r"needs \['world'\]"),
    ('moving_digits', DIGITS, {'size': 64}, 'is 32 pixels wide, size is 64'),
    ('moving_digits', DIGITS, {'stride': 3}, 'has 16 .* window spans 22'),
  ],
)
def test_what_cannot_be_opened_says_why(tmp_path, name, options, changed, says):
  with pytest.raises(ValueError, match=says):
    open_source(name, tmp_path, options, **changed)
  assert not any(tmp_path.iterdir())
