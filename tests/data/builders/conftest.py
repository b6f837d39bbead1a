"""Fake copies of data sets: a few tiny videos each."""

import films
import pytest

from framebridge_jax.data.builders import videos


@pytest.fixture(scope='session')
def film():
  """Bytes of a video; the number of its frames tells them apart."""
  made = {}

  def make(frames=6, kind='mp4'):
    if (frames, kind) not in made:
      made[frames, kind] = films.encode(kind, films.frames(frames))
    return made[frames, kind]

  return make


@pytest.fixture
def write(tmp_path):
  """Writes files below a folder, given their content by path."""

  def write(files, folder='raw'):
    for name, content in files.items():
      path = tmp_path / folder / name
      path.parent.mkdir(parents=True, exist_ok=True)
      data = content.encode() if isinstance(content, str) else content
      path.write_bytes(data)
    return tmp_path / folder

  return write


@pytest.fixture
def opened(tmp_path):
  """Prepares a data set of a folder, and opens a split."""

  def open_split(module, folder, split='train', *, bad=0.0, **options):
    config = module.make_config(
      folder=str(folder), max_bad_fraction=bad, **options
    )
    return videos.open_records(
      module.BUILDER, config, split, data_dir=tmp_path / 'prepared'
    )

  return open_split
