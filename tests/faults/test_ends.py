"""Requests to end, second trainers, crash loops: the exit codes are API."""

import signal
import subprocess
import sys
import time

import harm
import pytest

import commands
from framebridge_jax.cli import supervise


@pytest.mark.parametrize(
  ('number', 'code'),
  [
    (signal.SIGTERM, 143),
    pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
  ],
)
def test_a_request_to_end_saves_the_step_it_meets(
  tmp_path, number, code, trial
):
  """Saves stand 1,000 steps apart: only the signal can have saved."""
  knobs = {'num_steps': 1000, 'checkpoint_every': 1000, 'pause': 0.02}
  with trial('SIGTERM or SIGINT'):
    process = harm.start(tmp_path, **knobs)
    harm.wait_for(lambda: harm.log_lines(tmp_path) > 4, process=process)
    start = time.monotonic()
    process.send_signal(number)
    # A second one in the middle of the save changes nothing.
    time.sleep(0.1)
    if process.poll() is None:
      process.send_signal(number)
    got, _, errors = harm.end(process)
    took = time.monotonic() - start
    assert got == code, errors
    assert took < 30
    (step,) = harm.saved(tmp_path)
    assert harm.log_lines(tmp_path) == step
    assert f'step {step} is saved' in errors
    stop = step + 3
    code, out, errors = harm.run(tmp_path, **{**knobs, 'num_steps': stop})
    assert code == 0, errors
    assert f'FROM {step}\n' in out
    whole = tmp_path / 'whole'
    assert harm.run(whole, num_steps=stop, checkpoint_every=1000)[0] == 0
    assert harm.log(tmp_path) == harm.log(whole)
    assert harm.manifest(tmp_path, stop) == harm.manifest(whole, stop)


def test_a_second_trainer_is_refused_and_the_first_goes_on(tmp_path, trial):
  with trial('two trainers in one workdir'):
    first = harm.start(tmp_path, num_steps=1000, pause=0.02)
    harm.wait_for(lambda: harm.saved(tmp_path), process=first)
    code, out, errors = harm.run(tmp_path)
    assert code == 2
    assert f'"pid": {first.pid}' in errors
    assert 'FROM' not in out
    assert first.poll() is None
    harm.kill(first)
    # The lock of a dead one is free.
    code, _, errors = harm.run(tmp_path, num_steps=harm.saved(tmp_path)[-1] + 1)
    assert code == 0, errors


SUPERVISE = """
import logging, pathlib, sys
from framebridge_jax.cli import supervise
supervise._CHILD = [sys.executable, '-c', sys.argv[2]]
try:
  code = supervise.run([], pathlib.Path(sys.argv[1]))
except supervise.CrashLoopError as error:
  print(f'error: {error}', file=sys.stderr)
  code = error.exit_code
raise SystemExit(code)
"""


def _supervise(workdir, child):
  return subprocess.Popen(
    [sys.executable, '-c', SUPERVISE, str(workdir), child],
    cwd=commands.ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


@pytest.mark.slow
def test_a_crash_loop_ends_with_code_5_after_growing_waits(tmp_path, trial):
  """Five tries, with 1 + 2 + 4 + 8 seconds between them."""
  child = f'print("try", file=open({str(tmp_path / "tries")!r}, "a")); exit(1)'
  with trial('crash loop'):
    start = time.monotonic()
    code, _, errors = harm.end(_supervise(tmp_path, child))
    assert code == 5
    assert (tmp_path / 'tries').read_text().count('try') == 5
    assert 15 <= time.monotonic() - start < 30
    assert 'last exit code 1' in errors


def test_a_crash_that_got_further_is_no_loop(tmp_path, monkeypatch):
  """Every second try commits a checkpoint: 12 crashes, then the end."""
  child = f"""
import pathlib
folder = pathlib.Path({str(tmp_path)!r})
tries = len(list(folder.glob('try*')))
(folder / f'try{{tries}}').touch()
if tries % 2:
  (folder / 'checkpoints' / str(tries)).mkdir(parents=True)
exit(1 if tries < 12 else 0)
"""
  waits = []
  monkeypatch.setattr(supervise, '_CHILD', [sys.executable, '-c', child])
  monkeypatch.setattr(
    supervise._Requests, 'wait', lambda self, seconds: waits.append(seconds)
  )
  before = [signal.getsignal(x) for x in (signal.SIGTERM, signal.SIGINT)]
  try:
    assert supervise.run([], tmp_path) == 0
  finally:
    signal.signal(signal.SIGTERM, before[0])
    signal.signal(signal.SIGINT, before[1])
  assert waits == [1, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1]


@pytest.mark.parametrize(
  'code', [0, *(pytest.param(x, marks=pytest.mark.slow) for x in (2, 3)), 4]
)
def test_what_a_second_try_would_not_change_is_not_tried_again(tmp_path, code):
  child = f'print("try", file=open({str(tmp_path / "tries")!r}, "a"))'
  got, _, _ = harm.end(_supervise(tmp_path, f'{child}; exit({code})'))
  assert got == code
  assert (tmp_path / 'tries').read_text().count('try') == 1


@pytest.mark.slow
def test_a_supervised_run_passes_sigterm_on_and_leaves_no_orphan(
  tmp_path, trial
):
  """The real command line: supervisor, child, a save, nobody left."""
  words = commands.command(
    'train',
    tmp_path,
    **commands.train_words(
      supervise=True, train__num_steps=100_000, train__checkpoint_every=100_000
    ),
  )
  with trial('SIGTERM to the supervisor'):
    process = subprocess.Popen(
      words,
      cwd=commands.ROOT,
      env=commands.environment(),
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    harm.wait_for(lambda: harm.log_lines(tmp_path) > 2, process=process)
    (child,) = harm.children(process.pid)
    process.send_signal(signal.SIGTERM)
    code, _, errors = harm.end(process)
    assert code == 143, errors
    assert len(harm.saved(tmp_path)) == 1
    assert not harm.alive(child)
