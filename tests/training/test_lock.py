"""One trainer a workdir; a dead one's lock is free."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from framebridge_jax.training import lock

HOLD = """
import pathlib, sys, time
from framebridge_jax.training import lock
with lock.hold(pathlib.Path(sys.argv[1])):
  print('held', flush=True)
  time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
  """Another process that has the workdir."""
  process = subprocess.Popen(
    [sys.executable, '-c', HOLD, str(tmp_path)],
    stdout=subprocess.PIPE,
    text=True,
    cwd=pathlib.Path(__file__).parents[2],
  )
  assert process.stdout.readline() == 'held\n'
  yield process
  process.kill()
  process.wait()


def test_a_second_trainer_is_refused_and_told_of_the_first(tmp_path, holder):
  with pytest.raises(lock.LockedError) as error, lock.hold(tmp_path):
    pass
  for part in (str(tmp_path), f'"pid": {holder.pid}', '"host"', '"since"'):
    assert part in str(error.value)
  assert json.loads((tmp_path / 'lock.json').read_text())['pid'] == holder.pid


def test_the_lock_of_a_killed_trainer_is_free_at_once(tmp_path, holder):
  holder.send_signal(signal.SIGKILL)
  holder.wait()
  with lock.hold(tmp_path):
    held = json.loads((tmp_path / 'lock.json').read_text())
  assert held['pid'] == os.getpid()


def test_the_lock_is_free_after_an_error(tmp_path):
  with pytest.raises(RuntimeError), lock.hold(tmp_path):
    raise RuntimeError
  with lock.hold(tmp_path):
    pass


def test_a_workdir_that_cannot_be_written_to_is_named_with_the_reason(tmp_path):
  (tmp_path / 'lock.json').mkdir()
  with (
    pytest.raises(ValueError, match='Is a directory') as error,
    lock.hold(tmp_path),
  ):
    pass
  assert str(tmp_path) in str(error.value)
