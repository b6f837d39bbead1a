"""What a window says of its steps: in files, to the loop, on the terminal."""

import re

import jax
import numpy as np
import pytest

from framebridge_jax.training import progress

NAN = float('nan')


def test_flush_gives_every_step_s_numbers_once_in_order_finite_or_not(start):
  run = start()
  run.take(1, loss=2.0, grad_norm=0.5)
  run.take(2, loss=NAN, grad_norm=np.inf)
  first, second = run.meter.flush()
  assert first == {'loss': 2.0, 'grad_norm': 0.5}
  assert np.isnan(second['loss'])
  assert second['grad_norm'] == np.inf
  assert run.meter.flush() == []
  assert [line['step'] for line in run.lines] == [1, 2]


def test_nothing_is_fetched_before_the_window_ends(start, monkeypatch):
  """A transfer would make the host wait for the device."""
  run = start()
  run.take(1)
  with jax.transfer_guard_device_to_host('disallow'):
    monkeypatch.setattr(progress.jax, 'device_get', None)
    run.take(2)
    run.take(3)
  with pytest.raises(TypeError):
    run.meter.flush()


def test_a_record_stands_in_its_step_s_line_alone(start):
  run = start()
  run.take(1, record={'batch': 'c0ffee', 'epoch': 3})
  run.take(2, record={'batch': 'nan0'})
  flushed = run.meter.flush()
  assert run.lines == [
    {'step': 1, 'loss': 1.0, 'batch': 'c0ffee', 'epoch': 3},
    {'step': 2, 'loss': 1.0, 'batch': 'nan0'},
  ]
  assert flushed == [{'loss': 1.0}] * 2
  assert 'batch' not in run.windows[0]


def test_nothing_that_a_rerun_changes_stands_in_the_steps_lines(start, clock):
  run = start(flops=1e9)
  for step in range(1, 4):
    run.wait('input', step * 0.7)
    run.take(step, step * 1.3)
  run.meter.flush()
  assert {name for line in run.lines for name in line} == {'step', 'loss'}


def test_loss_by_time_is_each_step_s_mean_and_the_window_s_mean_over_frames(
  start, monkeypatch
):
  """Bins of 3 and 1 frames weigh so; a bin without frames is left out."""
  run = start()
  shown = []
  write = run.logger.write
  monkeypatch.setattr(
    run.logger,
    'write',
    lambda *args, **more: (shown.append(more['shown']), write(*args, **more)),
  )
  run.take(1, loss_by_time=[[6.0, 3], [0.0, 0], [5.0, 1]])
  run.take(2, loss_by_time=[[10.0, 1], [0.0, 0], [0.0, 0]])
  low, high = 'loss_t/0.0-0.333', 'loss_t/0.667-1.0'
  assert run.meter.flush() == [
    {'loss': 1.0, low: 2.0, high: 5.0},
    {'loss': 1.0, low: 10.0},
  ]
  assert run.lines == [
    {'step': 1, 'loss': 1.0, low: 2.0, high: 5.0},
    {'step': 2, 'loss': 1.0, low: 10.0},
  ]
  assert shown == [{low: 4.0, high: 5.0}]


def test_names_of_bins_are_their_ends():
  names = progress.bin_means(np.ones((5, 2)))
  assert list(names) == [
    'loss_t/0.0-0.2',
    'loss_t/0.2-0.4',
    'loss_t/0.4-0.6',
    'loss_t/0.6-0.8',
    'loss_t/0.8-1.0',
  ]


def test_in_a_pipe_every_window_is_one_line(start, said, capfd):
  run = start()
  run.take(1, 100.0)
  run.take(2, 2.0, loss=0.5)
  run.meter.flush()
  (line,) = said
  assert line == 'step 2/9  loss 0.5000  5.0 frames/s  ETA 0:00:14'
  assert '\r' not in capfd.readouterr().err


def test_the_line_tells_utilisation_where_it_is_known(start, said, on_device):
  on_device('NVIDIA H200')
  run = start(flops=4 * 989.5e12 / 4)
  run.take(1)
  run.take(2, 1.0)
  run.meter.flush()
  assert '10.0 frames/s  MFU 25.0%  ETA' in said[0]


@pytest.mark.parametrize(('waited', 'told'), [(1.9, False), (3.0, True)])
def test_the_line_tells_of_a_wait_for_input_above_a_fifth(
  start, said, waited, told
):
  run = start()
  run.take(1)
  run.wait('input', waited)
  run.take(2, 10.0 - waited)
  run.meter.flush()
  assert ('waits for input 30% of the time' in said[0]) == told
  assert told or 'wait' not in said[0]


def test_on_a_terminal_there_is_a_bar(start, said, on_terminal, capsys):
  on_terminal()
  run = start(first=4)
  run.take(5, 1.0)
  run.take(6, 2.0, loss=0.25)
  run.meter.flush()
  shown = re.split(r'[\r\n]', capsys.readouterr().err)[-1]
  assert not said
  assert 'loss 0.2500, 5.0 frames/s' in shown
  assert '6/9' in shown


def test_a_bar_goes_back_with_its_steps(start, on_terminal, capsys):
  on_terminal()
  run = start()
  for step in (1, 2, 7, 2):
    run.take(step)
  run.meter.flush()
  shown = re.split(r'[\r\n]', capsys.readouterr().err)[-1]
  assert '2/9' in shown
