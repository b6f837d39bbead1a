"""A process that hangs says where, and ends if it is told to."""

import subprocess
import sys

import pytest

RUN = """
import sys, time
from framebridge_jax.training import watchdog

def stuck_in_here(seconds):
  time.sleep(seconds)

with watchdog.Watchdog(float(sys.argv[1]), end=sys.argv[2] == 'end') as dog:
  {before}
  stuck_in_here(1.0)
print('went on')
"""


def _run(before, seconds, end='stay'):
  return subprocess.run(
    [sys.executable, '-c', RUN.format(before=before), seconds, end],
    capture_output=True,
    text=True,
    timeout=60,
    check=False,
  )


def test_a_stall_is_shown_with_its_place_and_the_run_goes_on():
  done = _run('dog.beat()', '0.3')
  assert 'stuck_in_here' in done.stderr
  assert done.stdout == 'went on\n'
  assert done.returncode == 0


def test_a_stall_ends_the_process_if_it_shall():
  done = _run('dog.beat()', '0.3', 'end')
  assert 'stuck_in_here' in done.stderr
  assert done.stdout == ''
  assert done.returncode == 1


@pytest.mark.parametrize(
  ('before', 'seconds'),
  [
    ('pass', '0.3'),
    ('dog.beat()', '0'),
    ('dog.beat()', '30'),
  ],
  ids=['before the first step', 'switched off', 'soon enough'],
)
def test_no_stall_no_word(before, seconds):
  done = _run(before, seconds, 'end')
  assert done.stderr == ''
  assert done.stdout == 'went on\n'
