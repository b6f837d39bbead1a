"""A tiny run, trained through the real command line, and real files."""

import numpy as np
import pytest
from PIL import Image

import commands as cli


@pytest.fixture(scope='session')
def cache(tmp_path_factory):
  """Where all runs of the session keep the prepared data set."""
  return tmp_path_factory.mktemp('cache')


@pytest.fixture(scope='session')
def trained(tmp_path_factory, cache):
  """The workdir of a tiny run that trained undisturbed."""
  workdir = tmp_path_factory.mktemp('run') / 'wörk dir'
  done = cli.call('train', workdir, **cli.train_words(cache_dir=cache))
  assert done.returncode == 0, done.stderr
  return workdir


@pytest.fixture(scope='session')
def photo(tmp_path_factory):
  """A wide RGBA picture, half transparent."""
  rng = np.random.default_rng(0)
  pixels = rng.integers(0, 256, (40, 70, 4), np.uint8)
  path = tmp_path_factory.mktemp('photo') / 'photo.png'
  Image.fromarray(pixels).save(path)
  return path
