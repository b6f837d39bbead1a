"""Requests to end are held back, and only inside the block."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from framebridge_jax.training import signals


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_noted_and_does_not_interrupt(number):
  before = signal.getsignal(number)
  with signals.Requests() as requests:
    assert requests.received is None
    os.kill(os.getpid(), number)
    assert requests.received == number
  assert signal.getsignal(number) is before


def test_the_first_signal_counts():
  with signals.Requests() as requests:
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)
  assert requests.received == signal.SIGTERM


def test_after_the_block_ctrl_c_interrupts_again():
  before = signal.signal(signal.SIGINT, signal.default_int_handler)
  try:
    with signals.Requests():
      pass
    with pytest.raises(KeyboardInterrupt):
      os.kill(os.getpid(), signal.SIGINT)
  finally:
    signal.signal(signal.SIGINT, before)


def test_another_thread_than_the_main_one_holds_nothing_back():
  """Python refuses handlers there; training in a thread still works."""
  seen = []

  def work():
    with signals.Requests() as requests:
      seen.append(requests.received)

  thread = threading.Thread(target=work)
  thread.start()
  thread.join()
  assert seen == [None]


def test_the_exit_code_is_the_shell_s():
  assert signals.InterruptedRunError('x', signal.SIGTERM).exit_code == 143
  assert signals.InterruptedRunError('x', signal.SIGINT).exit_code == 130


def test_on_the_way_out_of_an_ended_run_signals_are_ignored():
  """In a process of its own: Python's own end would kill with the default."""
  said = subprocess.run(
    [
      sys.executable,
      '-c',
      'import os, signal\n'
      'from framebridge_jax.training import signals\n'
      'try:\n'
      '  with signals.Requests():\n'
      '    raise signals.InterruptedRunError("", signal.SIGTERM)\n'
      'except signals.InterruptedRunError as error:\n'
      '  os.kill(os.getpid(), signal.SIGTERM)\n'
      '  os.kill(os.getpid(), signal.SIGINT)\n'
      '  raise SystemExit(error.exit_code)\n',
    ],
    check=False,
  )
  assert said.returncode == 143
