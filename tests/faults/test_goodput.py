"""What a run tells of its time, against a clock outside it."""

import signal
import time

import harm
import pytest

from framebridge_jax.training import goodput
from framebridge_jax.training import logging as run_logging

KILLS = 10
EVERY = 20.0  # seconds from start to kill
PAUSE = 0.1  # seconds of a step, nearly all of it
SAVE_EVERY = 40  # steps
WINDOW = 2  # steps, of toy runs


@pytest.mark.slow
def test_the_goodput_of_a_run_that_is_killed_is_what_it_should_be(
  tmp_path, trial
):
  """Starts and steps are timed from outside, as they are seen to happen."""
  knobs = {'num_steps': 100_000, 'checkpoint_every': SAVE_EVERY, 'pause': PAUSE}
  starts, steps, training = [], 0, 0.0
  with trial('killed again and again'):
    begun = time.time()
    for _ in range(KILLS):
      born, before = time.time(), _windows(tmp_path)
      process = harm.start(tmp_path, **knobs)
      while _windows(tmp_path) == before:
        assert process.poll() is None, harm.end(process)
        time.sleep(0.01)
      first, at_first = time.time(), _windows(tmp_path)
      while time.time() < born + EVERY:
        time.sleep(0.01)
      steps += WINDOW * (_windows(tmp_path) - at_first)
      training += time.time() - first
      starts.append(first - born - WINDOW * PAUSE)
      process.send_signal(signal.SIGKILL)
      passed = time.time() - begun
      harm.end(process)
    assert harm.saved(tmp_path)
    found = goodput.account(run_logging.read(tmp_path / run_logging.CLOCK))
    assert found.wall == pytest.approx(passed, rel=0.01)
    interval = SAVE_EVERY * training / steps
    wanted = 1 - (interval / 2 + sum(starts) / KILLS) * KILLS / passed
    assert 0.2 < wanted < 0.9
    # A toy sleeps as it reads: its input is its work.
    good = (found.steps + found.input) / found.wall
    assert good == pytest.approx(wanted, abs=0.05)
    assert found.repeated > 0


def _windows(workdir):
  path = workdir / run_logging.CLOCK
  return path.read_text().count('"kind": "steps"') if path.exists() else 0
