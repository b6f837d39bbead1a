"""The code of docs/python.md runs, in order, on a small model."""

import pathlib
import re

import numpy as np
import pytest
import small_models
from PIL import Image

import framebridge_jax
import pages
from framebridge_jax import pipeline

pytestmark = pytest.mark.usefixtures('quick_compilation')
PAGE = pages.said_in(pathlib.Path('docs/python.md'))


@pytest.fixture
def folder(tmp_path, monkeypatch):
  """Pictures, and a model of 16 frames in place of the run."""
  rng = np.random.default_rng(0)
  for name in ('photo', 'first', 'last', 'a', 'b', 'c'):
    picture = rng.integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / f'{name}.png')
  file = small_models.save(
    tmp_path / 'small.safetensors', data__frames=16, model__patch=8
  )
  real = pipeline.load
  monkeypatch.setattr(framebridge_jax, 'load', lambda path: real(file))
  monkeypatch.chdir(tmp_path)
  return tmp_path


def test_the_page_runs(folder, capsys):
  names = {}
  for block in re.findall(r'```python\n(.*?)```', PAGE, re.DOTALL):
    exec(block, names)  # noqa: S102
  assert (folder / 'photo.mp4').stat().st_size > 0
  assert (folder / 'out' / 'photo.json').stat().st_size > 0
  assert len(names['longer']) == 64
  assert len(names['more']) == 17
  said = capsys.readouterr().out.splitlines()
  assert said[:3] == ['5 of 20 16', '10 of 20 16', '15 of 20 16']
  assert said[3:] == ['cancelled after step 15', '16']


def test_the_page_names_every_method():
  methods = [
    name
    for name, value in vars(pipeline.Pipeline).items()
    if callable(value) and not name.startswith('_')
  ]
  shown = re.findall(r'^\| `(\w+)\(', PAGE, re.MULTILINE)
  assert sorted(methods) == sorted(shown)


def test_the_page_names_every_setting():
  for name in pipeline.Settings.__dataclass_fields__:
    known = 'guidance' if name.startswith('guidance') else name
    assert known in PAGE, name
