"""What a window took: speed, waits, utilisation, memory."""

import pathlib
import re

import jax
import pytest

from framebridge_jax.training import flops


def test_speed_leaves_out_compilation_and_pauses(start):
  """2 steps of 10 frames in 4 seconds, then one in 4."""
  run = start()
  run.take(1, 100.0)
  run.take(2, 2.0)
  run.take(3, 2.0)
  with run.meter.paused():
    run.clock.turn(500.0)
  run.take(4, 4.0)
  run.meter.flush()
  first, second = run.windows
  assert (first['step'], second['step']) == (3, 4)
  assert (first['frames_per_second'], first['step_seconds']) == (5.0, 2.0)
  assert (second['frames_per_second'], second['step_seconds']) == (2.5, 4.0)


def test_a_first_step_alone_has_no_speed(start, said):
  run = start()
  run.take(1, 100.0)
  run.meter.flush()
  assert set(run.windows[0]) == {'step', 'host_memory_peak_bytes'}
  (line,) = said
  assert 'compiling' in line
  assert 'ETA unknown' in line


def test_waits_are_the_seconds_inside_and_their_share(start):
  """Window 1: 1 + 3 s of 8 for input. Window 2: 2 of 4 for the save."""
  run = start()
  run.wait('input', 50.0)
  run.take(1, 100.0)
  run.wait('input', 1.0)
  run.take(2, 2.0)
  run.wait('input', 3.0)
  run.take(3, 2.0)
  run.meter.flush()
  run.wait('checkpoint', 2.0)
  run.take(4, 2.0)
  run.meter.flush()
  first, second = run.windows
  assert (first['input_seconds'], first['input_share']) == (4.0, 0.5)
  assert (first['checkpoint_seconds'], first['checkpoint_share']) == (0.0, 0.0)
  assert (second['input_seconds'], second['input_share']) == (0.0, 0.0)
  assert (second['checkpoint_seconds'], second['checkpoint_share']) == (2, 0.5)


def test_a_pause_after_a_save_keeps_the_save_s_wait(start):
  """The loop's order: flush, save, draw samples, train on."""
  run = start()
  run.take(1)
  run.meter.flush()
  run.wait('checkpoint', 3.0)
  with run.meter.paused() as flushed:
    run.clock.turn(500.0)
  assert flushed == []
  run.take(2, 1.0)
  run.meter.flush()
  assert run.windows[-1]['checkpoint_seconds'] == 3.0
  assert run.windows[-1]['step_seconds'] == 4.0


def test_time_that_ends_in_an_error_counts_too(start):
  run = start()
  run.take(1)
  with pytest.raises(OSError, match='full'), run.meter.waiting('checkpoint'):
    run.clock.turn(2.0)
    raise OSError('full')
  run.take(2, 2.0)
  run.meter.flush()
  assert run.windows[-1]['checkpoint_share'] == 0.5


def test_utilisation_is_products_over_time_and_all_devices_peaks(
  start, on_device
):
  """4 steps of 0.5 s; 4 devices of 989.5e12 a second."""
  on_device('NVIDIA H200')
  run = start(flops=4 * 989.5e12 / 5)
  assert jax.device_count() == 4
  run.take(1, 100.0)
  for step in range(2, 6):
    run.take(step, 0.5)
  run.meter.flush()
  (window,) = run.windows
  assert window['flops_per_second'] == pytest.approx(8 * 989.5e12 / 5)
  assert window['mfu'] == pytest.approx(0.4)


def test_an_unknown_device_has_no_utilisation_but_its_speed(start):
  assert flops.peak(jax.devices()[0].device_kind) is None
  run = start(flops=6e9)
  run.take(1)
  run.take(2, 2.0)
  run.meter.flush()
  (window,) = run.windows
  assert window['flops_per_second'] == 3e9
  assert 'mfu' not in window


def test_without_counted_products_neither_is_written(start, on_device):
  on_device('NVIDIA H200')
  run = start()
  run.take(1)
  run.take(2)
  run.meter.flush()
  assert {'flops_per_second', 'mfu'}.isdisjoint(run.windows[0])


def test_memory_is_the_fullest_device_s(start, on_device):
  on_device('NVIDIA H200', memory=((5, 9), (7, 8)))
  run = start()
  run.take(1)
  run.meter.flush()
  (window,) = run.windows
  assert window['device_memory_bytes'] == 7
  assert window['device_memory_peak_bytes'] == 9
  assert 'host_memory_peak_bytes' not in window


def test_without_a_count_of_the_device_memory_is_the_process_s(start):
  """In bytes; the kernel's own page about the process has it in KiB."""
  status = pathlib.Path('/proc/self/status')
  if not status.exists():
    pytest.skip('needs /proc')
  run = start()
  run.take(1)
  run.meter.flush()
  peak = re.search(r'VmHWM:\s+(\d+) kB', status.read_text())[1]
  (window,) = run.windows
  assert window['host_memory_peak_bytes'] == pytest.approx(
    1024 * int(peak), rel=0.05
  )
