"""Disks that are full, read-only or gone."""

import logging
import shutil
import subprocess

import harm
import jax
import numpy as np
import pytest
import toy_run
from tensorboard.backend.event_processing import event_accumulator

from framebridge_jax.training import checkpoint, retention
from framebridge_jax.training import logging as run_logging

mounts = pytest.mark.skipif(not harm.can_mount(), reason='needs root to mount')


def _state(width, seed=0):
  """Random: a state of zeros would shrink to nothing on the disk."""
  rng = np.random.default_rng(seed)
  made = toy_run.fresh(toy_run.Toy(width=width))
  return jax.tree.map(
    lambda x: jax.device_put(
      np.asarray(rng.normal(size=x.shape)).astype(x.dtype), x.sharding
    ),
    made,
  )


def _save(checkpointer, state, step):
  checkpointer.save(state, step=step, data_offset=0, config={})
  checkpointer.wait()


@mounts
def test_a_full_disk_spoils_no_older_step_and_heals(tmp_path, trial):
  """Of 9 MB; a state has 3.7 MB, and a file of 3 MB lies in its way."""
  with trial('disk full'), harm.small_disk(tmp_path / 'disk', '9m') as disk:
    keep = retention.Keep(last=9)
    first, second = _state(480), _state(480, seed=1)
    with checkpoint.Checkpointer(disk, keep=keep) as checkpointer:
      _save(checkpointer, first, 1)
      (disk / 'ballast').write_bytes(bytes(3_000_000))
      free = shutil.disk_usage(disk).free
      assert free < 3_700_000
      with pytest.raises(checkpoint.SaveError) as error:
        _save(checkpointer, second, 2)
      assert 'step 2 could not be saved' in str(error.value)
      assert 'last good checkpoint is of step 1' in str(error.value)
      assert harm.unfinished(disk) == []
      assert shutil.disk_usage(disk).free >= free - 100_000
      restored = checkpointer.restore(second).state
      jax.tree.map(np.testing.assert_array_equal, restored, first)
      (disk / 'ballast').unlink()
      _save(checkpointer, second, 3)
    assert harm.saved(disk) == [1, 3]


@mounts
@pytest.mark.parametrize('policy', ['stop', 'warn'])
def test_a_run_on_a_full_disk_does_as_it_is_told(tmp_path, policy, trial):
  """Both end with 1: one at the failure, one when its last save fails."""
  with trial('disk full'), harm.small_disk(tmp_path / 'disk', '9m') as disk:
    knobs = {'num_steps': 20, 'width': 480, 'keep': 9, 'on_save_error': policy}
    code, _, errors = harm.run(disk / 'run', **knobs)
    assert code == 1, errors
    assert 'could not be saved' in errors
    steps = harm.log_lines(disk / 'run')
    assert steps == 20 if policy == 'warn' else steps < 20
    good = harm.saved(disk / 'run')
    assert good
    assert good[-1] < 20
    assert harm.unfinished(disk / 'run') == []
    with checkpoint.Checkpointer(disk / 'run', read_only=True) as checkpointer:
      found = checkpointer.restore(_state(480))
    assert int(found.state.step) == good[-1]


@mounts
def test_lines_wait_for_room_and_the_board_goes_without(tmp_path, trial):
  with (
    trial('disk full, and a log to write'),
    harm.small_disk(tmp_path / 'disk', '200k') as disk,
  ):
    with run_logging.Logger(disk, first_step=0) as logger:
      _log(logger, range(5))
      harm.fill(disk / 'ballast')
      _log(logger, range(5, 400))
      assert len(run_logging.read(disk / 'metrics.jsonl')) < 400
      (disk / 'ballast').unlink()
      _log(logger, range(400, 410))
    lines = run_logging.read(disk / 'metrics.jsonl')
    assert [x['step'] for x in lines] == list(range(410))
    windows = run_logging.read(disk / 'performance.jsonl')
    assert [x['step'] for x in windows] == list(range(410))
    events = event_accumulator.EventAccumulator(str(disk / 'events'))
    events.Reload()
    shown = [x.step for x in events.Scalars('loss')]
    assert shown[:5] + shown[-10:] == [*range(5), *range(400, 410)]
    assert len(shown) < 400


@mounts
def test_lines_that_never_find_room_are_told_as_lost(tmp_path, caplog, trial):
  with (
    trial('disk full, and a log to write'),
    harm.small_disk(tmp_path / 'disk', '200k') as disk,
  ):
    with (
      caplog.at_level(logging.WARNING, 'absl'),
      run_logging.Logger(disk, first_step=0) as logger,
    ):
      harm.fill(disk / 'ballast')
      _log(logger, range(400))
    assert 'No space left' in caplog.text
    assert f'lost of {disk / "metrics.jsonl"}' in caplog.text
    lines = run_logging.read(disk / 'metrics.jsonl')
    assert [x['step'] for x in lines] == list(range(len(lines)))


def _log(logger, steps):
  for step in steps:
    logger.write([step], [{'loss': 1.0}], {'speed': 2.0})


def test_a_file_that_may_not_grow_is_a_failed_save(tmp_path, trial):
  """Without root: the system refuses files above 200 kB."""
  with trial('file size limited'):
    process = harm.start(
      tmp_path, num_steps=20, width=400, on_save_error='stop', limit=200_000
    )
    code, _, errors = harm.end(process)
    assert code == 1, errors
    assert 'step 4 could not be saved' in errors
    assert harm.saved(tmp_path) == []
    assert harm.unfinished(tmp_path) == []


@mounts
def test_a_read_only_workdir_is_refused_before_the_first_step(tmp_path, trial):
  with (
    trial('read-only workdir'),
    harm.small_disk(tmp_path / 'disk', '9m') as disk,
  ):
    subprocess.run(['mount', '-o', 'remount,ro', disk], check=True)
    code, out, errors = harm.run(disk)
    assert code == 2
    assert 'Read-only file system' in errors
    assert str(disk) in errors
    assert 'FROM' not in out


def test_a_workdir_that_is_removed_while_running_ends_the_run(tmp_path, trial):
  with trial('workdir removed while running'):
    workdir = tmp_path / 'run'
    process = harm.start(workdir, num_steps=400, pause=0.02)
    harm.wait_for(lambda: harm.saved(workdir), process=process)
    shutil.rmtree(workdir, ignore_errors=True)
    code, _, errors = harm.end(process)
    assert code == 1, errors
    assert 'could not be saved' in errors
    assert str(workdir) in errors
