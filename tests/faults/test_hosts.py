"""Two processes that train as one: rows M1, M2, M3 and C12 of the faults."""

import os
import signal
import socket
import subprocess
import sys
import time

import harm
import pytest

import commands

STEPS = 12
KNOBS = {
  'num_steps': STEPS,
  'checkpoint_every': 4,
  'mesh': 2,
  'data': 2,
  'batch': 8,
}


def _start(workdir, indices=(0, 1), count=2, **knobs):
  """Processes of one toy run, two devices each, by their numbers."""
  port = commands.free_port()
  return {
    index: harm.start_all(
      [(workdir, KNOBS | knobs)],
      {
        'XLA_FLAGS': '--xla_force_host_platform_device_count=2',
        'JAX_COORDINATOR_ADDRESS': f'localhost:{port}',
        'JAX_NUM_PROCESSES': str(count),
        'JAX_PROCESS_ID': str(index),
      },
    )
    for index in indices
  }


def _end(processes):
  """Codes, outputs and errors by number."""
  return {index: harm.end(x) for index, x in processes.items()}


def _digest(ended):
  """Of the last state, of which both processes must say the same."""
  for code, _, errors in ended.values():
    assert code == 0, errors
  said = {harm.said(out, 'ENDS')[0].split()[0] for _, out, _ in ended.values()}
  (digest,) = said
  return digest


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('undisturbed') / 'run'
  return workdir, _digest(_end(_start(workdir)))


def test_what_two_processes_saved_comes_back_in_one(undisturbed, tmp_path):
  """The digests of both are in one commit, and hold on another layout."""
  workdir, digest = undisturbed
  names = [
    path.name
    for path in (workdir / 'checkpoints' / str(STEPS) / 'digests').iterdir()
  ]
  assert {'digests.json', 'digests.1.json'} <= set(names)
  code, out, errors = harm.run(workdir, **KNOBS | {'mesh': 1, 'data': 1})
  assert code == 0, errors
  assert harm.said(out, 'HOLDS')[0].split()[0] == digest


def test_one_that_is_killed_ends_the_other_with_its_name_and_all_go_on(
  undisturbed, tmp_path, trial
):
  with trial('one of two processes killed'):
    workdir = tmp_path / 'run'
    processes = _start(workdir, pause=0.3)
    harm.wait_for(lambda: harm.saved(workdir), process=processes[0])
    processes[1].send_signal(signal.SIGKILL)
    killed = time.monotonic()
    code, _, errors = harm.end(processes[0])
    assert time.monotonic() - killed < 15
    assert 'process 1 of 2' in errors
    assert 'is gone; this process ends, too' in errors
    assert code == 6
    harm.end(processes[1])
    ended = _end(_start(workdir))
    assert _digest(ended) == undisturbed[1]
    (start,) = harm.said(ended[0][1], 'FROM')
    assert int(start) >= 4
    assert harm.log(workdir) == harm.log(undisturbed[0])


@pytest.mark.slow
def test_without_the_first_the_others_end_too(tmp_path, trial):
  with trial('one of two processes killed'):
    workdir = tmp_path / 'run'
    processes = _start(workdir, pause=0.3)
    harm.wait_for(lambda: harm.saved(workdir), process=processes[1])
    processes[0].send_signal(signal.SIGKILL)
    killed = time.monotonic()
    code, _, errors = harm.end(processes[1])
    assert time.monotonic() - killed < 15
    assert 'process 0 of 2' in errors
    assert code != 0
    harm.end(processes[0])


@pytest.mark.slow
def test_one_that_does_not_come_is_named(tmp_path, trial):
  with trial('a process missing at the start'):
    start = time.monotonic()
    ended = _end(_start(tmp_path / 'run', indices=(0, 2), count=3))
    assert time.monotonic() - start < 40
    for code, _, errors in ended.values():
      assert code == 6
      assert 'of 3 processes 1 did not come within 15 s' in errors
      assert f'2 ({socket.gethostname()})' in errors


@pytest.mark.slow
def test_one_that_is_stopped_for_a_while_is_no_deadlock(tmp_path, trial):
  """M2: either all go on unharmed, or all end as after a kill."""
  with trial('one of two processes stopped for 30 s'):
    workdir = tmp_path / 'run'
    processes = _start(workdir, pause=0.3)
    harm.wait_for(lambda: harm.saved(workdir), process=processes[0])
    os.kill(processes[1].pid, signal.SIGSTOP)
    stopped = time.monotonic()
    time.sleep(30)
    os.kill(processes[1].pid, signal.SIGCONT)
    ended = _end(processes)
    assert time.monotonic() - stopped < 90
    if any(code for code, _, _ in ended.values()):
      ended = _end(_start(workdir))
    _digest(ended)


@pytest.mark.slow
@pytest.mark.parametrize('victim', [0, 1])
def test_one_that_dies_in_a_save_leaves_no_half_of_it(
  undisturbed, tmp_path, victim, trial
):
  """M3: a step counts when both have written it."""
  with trial('one of two processes killed in a save'):
    workdir = tmp_path / 'run'
    processes = _start(workdir, pause=0.2, width=500)
    harm.wait_for(
      lambda: harm.saved(workdir) and harm.unfinished(workdir),
      process=processes[victim],
    )
    processes[victim].send_signal(signal.SIGKILL)
    _end(processes)
    left = harm.saved(workdir)
    assert left
    ended = _end(_start(workdir, width=500))
    (start,) = harm.said(ended[0][1], 'FROM')
    assert int(start) == max(left)
    for code, _, errors in ended.values():
      assert code == 0, errors
    assert not harm.unfinished(workdir)


@pytest.mark.slow
def test_sigterm_to_one_ends_all_after_the_same_step(tmp_path, trial):
  with trial('SIGTERM to one of two processes'):
    workdir = tmp_path / 'run'
    processes = _start(workdir, pause=0.3)
    harm.wait_for(lambda: harm.saved(workdir), process=processes[0])
    processes[1].send_signal(signal.SIGTERM)
    ended = _end(processes)
    assert [code for code, _, _ in ended.values()] == [143, 143]
    last = max(harm.saved(workdir))
    ended = _end(_start(workdir))
    assert int(harm.said(ended[1][1], 'FROM')[0]) == last


@pytest.mark.slow
def test_the_command_line_trains_on_two_processes(tmp_path):
  """Started by the launch script, and resumed in one process of four."""
  words = commands.train_words(
    cache_dir=tmp_path / 'data', mesh__fsdp=2, cluster__wait_seconds=60
  )
  words = commands.command('train', tmp_path / 'run', **words)[3:]
  done = subprocess.run(
    ['bash', str(commands.ROOT / 'launch/local_processes.sh'), '2', *words],
    env=commands.environment()
    | {'PORT': str(commands.free_port()), 'VIRTUAL_ENV': sys.prefix},
    capture_output=True,
    text=True,
    timeout=600,
  )
  assert done.returncode == 0, done.stderr
  assert len(commands.losses(tmp_path / 'run')) == 6
  changed = commands.train_words(
    cache_dir=tmp_path / 'data', train__num_steps=7
  )
  called = commands.call('train', tmp_path / 'run', **changed)
  assert called.returncode == 0, called.stderr
  assert 'Restored step 6' in called.stderr
