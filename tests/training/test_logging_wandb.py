"""Weights & Biases, by a stand-in that notes what it is told."""

import sys
import types

import numpy as np
import pytest

from framebridge_jax.training import logging


class FakeWandb(types.ModuleType):
  """Notes what it is told."""

  def __init__(self):
    super().__init__('wandb')
    self.inits, self.defined, self.logged, self.ended = [], [], [], []

  def init(self, **options):
    self.inits.append(options)
    return types.SimpleNamespace(
      define_metric=lambda *args, **options: self.defined.append(
        (args, options)
      ),
      log=self.logged.append,
      finish=lambda **options: self.ended.append(options),
    )

  def Video(self, data, format):  # noqa: A002, N802  W&B's own names.
    return format, data.read()


@pytest.fixture
def wandb(monkeypatch):
  module = FakeWandb()
  monkeypatch.setitem(sys.modules, 'wandb', module)
  return module


def test_wandb_gets_what_tensorboard_gets_by_our_own_step(tmp_path, wandb):
  with logging.Logger(tmp_path, first_step=1, wandb='films') as logger:
    logger.write(
      [1, 2], [{'loss': 1.0}, {'loss': 2.0}], {'speed': 3.0}, shown={'bin': 4.0}
    )
    logger.write_clip('samples', np.zeros((1, 2, 4, 4, 3), 'u1'), fps=8, step=2)
  (init,) = wandb.inits
  assert (init['project'], init['resume']) == ('films', 'allow')
  assert init['dir'] == str(tmp_path)
  assert wandb.defined == [(('*',), {'step_metric': 'step'})]
  numbers, clip = wandb.logged
  assert numbers == {'loss': 1.5, 'speed': 3.0, 'bin': 4.0, 'step': 2}
  assert clip['step'] == 2
  assert clip['samples'][0] == 'gif'
  assert clip['samples'][1].startswith(b'GIF89a')
  assert wandb.ended == [{'exit_code': 0}]


def test_a_resumed_run_is_the_same_one_at_wandb_and_another_is_not(
  tmp_path, wandb
):
  for workdir in ('a', 'a', 'b'):
    with logging.Logger(tmp_path / workdir, first_step=1, wandb='films'):
      pass
  first, again, other = (init['id'] for init in wandb.inits)
  assert first == again
  assert first != other


def test_a_run_that_fails_is_told_to_wandb_as_failed(tmp_path, wandb):
  with (
    pytest.raises(RuntimeError),
    logging.Logger(tmp_path, first_step=1, wandb='films'),
  ):
    raise RuntimeError
  assert wandb.ended == [{'exit_code': 1}]


def test_wandb_is_not_touched_unless_asked_for(tmp_path, wandb):
  with logging.Logger(tmp_path, first_step=1) as logger:
    logger.write([1], [{'loss': 1.0}], {})
  assert not wandb.inits
  assert not (tmp_path / 'wandb_id').exists()


def test_wandb_that_is_not_installed_is_refused_before_anything_is_written(
  tmp_path, monkeypatch
):
  monkeypatch.setitem(sys.modules, 'wandb', None)  # import finds nothing
  with pytest.raises(ValueError, match="'films'.*pip install wandb"):
    logging.Logger(tmp_path / 'run', first_step=1, wandb='films')
  assert not list(tmp_path.iterdir())
  with logging.Logger(tmp_path / 'run', first_step=1):
    pass
