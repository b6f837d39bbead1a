"""Data sets that are too little, or out of reach."""

import contextlib
import os
import pathlib
import shutil
import tempfile

import harm
import numpy as np
import pytest
import toy_run

from framebridge_jax import saved
from framebridge_jax.cli import train
from framebridge_jax.data import video_io

NOBODY = 65534


@pytest.fixture
def home():
  """A folder that every user may enter, unlike pytest's own."""
  with tempfile.TemporaryDirectory() as folder:
    os.chmod(folder, 0o755)
    yield pathlib.Path(folder)


def _video(path, frames):
  path.parent.mkdir(parents=True, exist_ok=True)
  rng = np.random.default_rng(0)
  pixels = rng.integers(0, 256, (frames, 32, 32, 3), np.uint8)
  video_io.write_mp4(path, pixels, 8)


def _empty(folder):
  (folder / 'below').mkdir(parents=True)


def _short(folder):
  _video(folder / 'a.mp4', 2)


def _broken(folder):
  folder.mkdir()
  for name in ('a.mp4', 'b.mp4'):
    (folder / name).write_bytes(b'<html>not found</html>')


def _one_class(folder):
  for name in ('a.mp4', 'b.mp4'):
    _video(folder / name, 6)


def _file(folder):
  folder.write_text('')


def _missing(folder):
  del folder


@pytest.mark.parametrize(
  ('make', 'said'),
  [
    (_empty, ['holds no video among its 1 entries']),
    (_short, ['0 of 1 videos are usable', '1 have fewer than 4 frames']),
    (_broken, ['0 of 2 videos are usable', '2 cannot be read']),
    (_one_class, ['the data set has 1 classes', 'model.classes is 10']),
    (_file, ['is a file; give a folder of videos']),
    (_missing, ['is missing; give a folder of videos']),
  ],
)
def test_data_that_cannot_be_trained_on_are_refused_before_compiling(
  make, said, tmp_path, tiny_config, compilations, trial
):
  with trial('data that cannot be trained on'):
    make(tmp_path / 'videos')
    config = tiny_config(dataset='folder', data_dir=str(tmp_path / 'videos'))
    with pytest.raises(ValueError) as error:
      train.run(config, tmp_path / 'run')
    for words in said:
      assert words in str(error.value)
    assert compilations == []


@contextlib.contextmanager
def _as_nobody():
  """Root may read everything; others may not."""
  os.seteuid(NOBODY)
  try:
    yield
  finally:
    os.seteuid(0)


@pytest.mark.skipif(os.geteuid() != 0, reason='needs root to become nobody')
@pytest.mark.parametrize('closed', ['videos', 'videos/below'])
def test_a_folder_that_may_not_be_read_is_named(
  closed, home, tiny_config, compilations, trial
):
  with trial('data that cannot be trained on'):
    _video(home / 'videos' / 'below' / 'a.mp4', 6)
    (home / closed).chmod(0)
    config = tiny_config(
      dataset='folder',
      data_dir=str(home / 'videos'),
      cache_dir=str(home / 'cache'),
    )
    for folder in ('run', 'cache'):
      (home / folder).mkdir()
      shutil.chown(home / folder, NOBODY)
    with _as_nobody():
      with pytest.raises(PermissionError):
        list((home / closed).iterdir())
      with pytest.raises(ValueError) as error:
        train.run(config, home / 'run')
    assert f'{home / closed} cannot be read (Permission denied' in str(
      error.value
    )
    assert compilations == []


def test_a_set_without_clips_is_refused_as_a_config(tmp_path, tiny_config):
  with pytest.raises(ValueError, match='data.train_clips is 0'):
    train.run(tiny_config(**{'data.train_clips': 0}), tmp_path)


@pytest.mark.parametrize('clips', [1, 3])
def test_fewer_clips_than_a_batch_are_repeated_within_it_and_learned(
  clips, tmp_path, trial
):
  """As documented; no two batches are alike, for windows are drawn."""
  with trial('fewer clips than a batch'):
    toy_run.train(tmp_path, toy_run.Toy(num_steps=8, clips=clips))
    assert harm.saved(tmp_path) == [4, 8]
    assert len(harm.hashes(tmp_path)) == 8
    losses = harm.losses(tmp_path)
    assert np.isfinite(losses).all()


@pytest.mark.slow
def test_one_clip_of_one_class_is_enough(
  tmp_path, tiny_config, monkeypatch, trial
):
  monkeypatch.setattr(train.previews, 'callbacks', lambda *args: ())
  with trial('fewer clips than a batch'):
    _video(tmp_path / 'videos' / 'only.mp4', 12)
    config = tiny_config(
      **{
        'dataset': 'folder',
        'data_dir': str(tmp_path / 'videos'),
        'cache_dir': str(tmp_path / 'cache'),
        'model.classes': -1,
        'train.num_steps': 2,
      }
    )
    train.run(config, tmp_path / 'run')
    assert saved.load_config(tmp_path / 'run')['model']['classes'] == 1
    assert np.isfinite(harm.losses(tmp_path / 'run')).all()
