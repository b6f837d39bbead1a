"""Workdirs of every release so far go on where they were."""

import functools
import json
import pathlib
import tarfile

import jax
import numpy as np
import pytest

import commands
from framebridge_jax import build, saved
from framebridge_jax.cli import configs, train
from framebridge_jax.data import sources
from framebridge_jax.training import logging as run_logging
from framebridge_jax.training import loop

ARCHIVES = sorted(pathlib.Path(__file__).parent.glob('*.tar.xz'))


def test_there_are_archives_and_they_are_small():
  assert ARCHIVES
  assert not [x.name for x in ARCHIVES if x.stat().st_size >= 200_000]


@pytest.fixture(params=ARCHIVES, ids=lambda path: path.name)
def release(request, tmp_path):
  """A release's workdir, its next batch and what that must give."""
  with tarfile.open(request.param) as archive:
    archive.extractall(tmp_path, filter='data')
  with np.load(tmp_path / 'batch.npz') as file:
    batch = dict(file)
  expected = json.loads((tmp_path / 'expected.json').read_text())
  assert loop.digest(batch) == expected['batch']
  return tmp_path / 'run', batch, expected


def _config(workdir, num_steps):
  """What the release's keys are now; keys that are new have their default."""
  config = configs.load_recipe(str(commands.ROOT / 'configs/quickstart.py'))
  known = dict(configs.flatten(config))
  config.update_from_flattened_dict(
    {
      name: value
      for name, value in _flatten(saved.load_config(workdir))
      if name in known
    }
  )
  config.train.num_steps = num_steps
  return config


def _flatten(tree, prefix=''):
  for name, value in tree.items():
    if isinstance(value, dict):
      yield from _flatten(value, f'{prefix}{name}.')
    else:
      value = tuple(value) if isinstance(value, list) else value
      yield f'{prefix}{name}', value


class _One:
  """The next batch alone, whose number must be the right one."""

  def __init__(self, batch, start, want):
    assert start == want
    self._batch = batch

  def __enter__(self):
    return iter([self._batch])

  def __exit__(self, *exception):
    pass


def test_a_release_s_workdir_is_resumed_and_its_next_loss_is_the_same(
  release, monkeypatch
):
  workdir, batch, expected = release
  step = expected['step']
  before = (workdir / 'metrics.jsonl').read_text()
  source = sources.Source(records=[], class_names=tuple('0123456789'))
  monkeypatch.setattr(build, 'make_source', lambda *args: source)
  monkeypatch.setattr(
    build, 'open_batches', lambda c, s, start: _One(batch, start, step - 1)
  )
  monkeypatch.setattr(train.previews, 'callbacks', lambda *args: ())
  # The compiler is quicker for one device.
  one = functools.partial(train.sharding.make_mesh, devices=jax.devices()[:1])
  monkeypatch.setattr(train.sharding, 'make_mesh', one)
  train.run(_config(workdir, step), workdir)
  assert (workdir / 'metrics.jsonl').read_text().startswith(before)
  *_, last = run_logging.read(workdir / 'metrics.jsonl')
  assert last['step'] == step
  assert last['batch'] == expected['batch']
  np.testing.assert_allclose(last['loss'], expected['loss'], rtol=1e-6)
