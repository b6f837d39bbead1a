"""Killed runs go on as if nothing had happened, bit for bit."""

import random
import signal
import time

import harm
import pytest
import toy_run

STEPS = 40
OFTEN = 'before_manifest', 'before_commit', 'after_commit'  # the others: slow


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """A run that nobody disturbed."""
  workdir = tmp_path_factory.mktemp('whole')
  code, _, errors = harm.run(workdir, num_steps=STEPS)
  assert code == 0, errors
  return workdir


def _resume(workdir, **knobs):
  code, out, errors = harm.run(workdir, num_steps=STEPS, **knobs)
  assert code == 0, errors
  return int(out.split('FROM ')[1].split()[0])


def _same(workdir, whole):
  assert harm.log(workdir) == harm.log(whole)
  assert harm.manifest(workdir, STEPS) == harm.manifest(whole, STEPS)
  assert harm.saved(workdir) == harm.saved(whole)
  assert harm.unfinished(workdir) == []


def test_the_undisturbed_run_is_repeatable_and_learns(whole, tmp_path, trial):
  with trial('same seed twice'):
    assert _resume(tmp_path) == 0
    _same(tmp_path, whole)
  losses = [line.split('"loss": ')[1] for line in harm.log(whole).splitlines()]
  assert len(set(losses)) == STEPS


@pytest.mark.parametrize(
  'seed',
  [
    0,
    *(pytest.param(k, marks=pytest.mark.slow) for k in range(1, 60)),
  ],
)
def test_a_run_killed_at_a_random_time_goes_on_to_the_bit(
  whole, tmp_path, seed, trial
):
  """It is slowed so that the kill falls into its 40 steps."""
  with trial('SIGKILL at a random time'):
    process = harm.start(tmp_path, num_steps=STEPS, pause=0.05)
    harm.wait_for(lambda: harm.log_lines(tmp_path), process=process)
    time.sleep(random.Random(seed).uniform(0, 2.0))
    last = harm.saved(tmp_path)[-1:]
    code, _ = harm.kill(process)
    assert code == -signal.SIGKILL
    assert len(harm.log(tmp_path).splitlines()) < STEPS
    first = _resume(tmp_path)
    assert first >= (last[0] if last else 0)
    _same(tmp_path, whole)


@pytest.mark.parametrize(
  'seed',
  [
    0,
    *(pytest.param(k, marks=pytest.mark.slow) for k in range(1, 40)),
  ],
)
def test_a_run_killed_inside_a_save_goes_on_from_the_one_before(
  tmp_path, seed, trial
):
  """A state of 50 MB, so that the save takes its time."""
  big = {'num_steps': 6, 'checkpoint_every': 2, 'width': 1000}
  with trial('SIGKILL inside a save'):
    process = harm.start(tmp_path, **big)
    harm.wait_for(
      lambda: harm.saved(tmp_path) and harm.unfinished(tmp_path),
      process=process,
    )
    time.sleep(random.Random(seed).uniform(0, 0.05))
    before = harm.saved(tmp_path)
    harm.kill(process)
    assert harm.unfinished(tmp_path), 'the save was over before the kill'
    code, out, errors = harm.run(tmp_path, **big)
    assert code == 0, errors
    assert int(out.split('FROM ')[1].split()[0]) >= before[-1]
    assert harm.unfinished(tmp_path) == []
    assert harm.saved(tmp_path) == [4, 6]
    assert _ended_alike(tmp_path, big)


_ENDS = {}


def _ended_alike(workdir, big):
  """Whether the digests are those of a run that nobody disturbed."""
  if 'want' not in _ENDS:
    alone = workdir / 'alone'
    assert harm.run(alone, **big)[0] == 0
    _ENDS['want'] = harm.manifest(alone, 6)
  return harm.manifest(workdir, 6) == _ENDS['want']


@pytest.mark.parametrize(
  'point',
  [
    pytest.param(point, marks=[] if point in OFTEN else pytest.mark.slow)
    for point in toy_run.FAULTS
  ],
)
def test_a_run_killed_at_any_point_of_a_save_goes_on(
  whole, tmp_path, point, trial
):
  with trial('SIGKILL at a named point of a save'):
    code, out, _ = harm.run(tmp_path, num_steps=STEPS, fault=point)
    assert code == -signal.SIGKILL
    assert f'STRUCK {point}' in out
    assert len(harm.log(tmp_path).splitlines()) < STEPS
    assert _resume(tmp_path) >= (0 if point == 'log_written' else 4)
    _same(tmp_path, whole)
