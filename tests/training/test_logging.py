"""Lines that read back to the bit, and events for TensorBoard's own reader."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing import event_accumulator

from framebridge_jax.training import logging


def _write(workdir, steps, first_step=0):
  with logging.Logger(workdir, first_step=first_step) as logger:
    for step in steps:
      logger.write([step], [{'loss': step + 0.1}], {})


def _events(workdir):
  events = event_accumulator.EventAccumulator(str(workdir / 'events'))
  events.Reload()
  return events


def test_floats_read_back_bit_for_bit(tmp_path):
  rng = np.random.default_rng(0)
  values = (rng.normal(size=50) * 10.0 ** rng.integers(-30, 30, 50)).tolist()
  values += [float(np.float32(0.1)), 1e-310, 0.0, -0.0, 2.0**53 + 2]
  with logging.Logger(tmp_path, first_step=0) as logger:
    scalars = [{'loss': x, 'grad_norm': -x} for x in values]
    logger.write(range(len(values)), scalars, {})
  lines = logging.read(tmp_path / 'metrics.jsonl')
  assert [line['step'] for line in lines] == list(range(len(values)))
  for name, sign in (('loss', 1), ('grad_norm', -1)):
    got = np.array([line[name] for line in lines])
    want = sign * np.array(values)
    np.testing.assert_array_equal(got.view(np.int64), want.view(np.int64))


def test_lines_from_the_first_step_on_are_dropped_at_the_start(tmp_path):
  _write(tmp_path, range(1, 8))
  before = (tmp_path / 'metrics.jsonl').read_text().split('\n')[:4]
  with logging.Logger(tmp_path, first_step=5):
    pass
  assert (tmp_path / 'metrics.jsonl').read_text().split('\n')[:-1] == before
  _write(tmp_path, [5, 6], first_step=5)
  lines = logging.read(tmp_path / 'metrics.jsonl')
  assert [line['step'] for line in lines] == [1, 2, 3, 4, 5, 6]


def test_a_last_line_cut_short_by_a_kill_is_left_out(tmp_path):
  _write(tmp_path, [1, 2])
  path = tmp_path / 'metrics.jsonl'
  whole = path.read_text()
  line = json.dumps({'step': 3, 'loss': 0.25})
  for cut in range(1, len(line)):
    path.write_text(whole + line[:cut])
    assert [x['step'] for x in logging.read(path)] == [1, 2]
  _write(tmp_path, [3], first_step=3)
  assert [x['step'] for x in logging.read(path)] == [1, 2, 3]


def test_a_run_without_lines_reads_as_empty(tmp_path):
  assert logging.read(tmp_path / 'metrics.jsonl') == []


def test_means_are_means_over_the_window():
  window = [{'loss': 1.0, 'mse': 0.5}, {'loss': 2.0, 'mse': 0.5}]
  window += [{'loss': 6.0, 'mse': 0.5}]
  assert logging.means(window) == pytest.approx({'loss': 3.0, 'mse': 0.5})


def test_a_scalar_that_some_steps_lack_is_the_mean_of_the_others():
  name = 'loss_t/0.0-0.2'  # no name that Python could speak
  window = [{'loss': 1.0, name: 4.0}, {'loss': 2.0}, {'loss': 6.0, name: 5.0}]
  assert logging.means(window) == pytest.approx({'loss': 3.0, name: 4.5})


def test_tensorboard_reads_the_window_s_means_at_its_last_step(tmp_path):
  with logging.Logger(tmp_path, first_step=1) as logger:
    logger.write([1, 2], [{'loss': 1.0}, {'loss': 2.0}], {'speed': 30.0})
    logger.write([3, 4], [{'loss': 5.0}, {'loss': 8.0}], {})
  events = _events(tmp_path)
  loss = [(x.step, x.value) for x in events.Scalars('loss')]
  assert loss == [(2, 1.5), (4, 6.5)]
  assert [(x.step, x.value) for x in events.Scalars('speed')] == [(2, 30.0)]


def test_tensorboard_forgets_the_steps_that_a_resumed_run_takes_again(tmp_path):
  _write(tmp_path, range(1, 6))
  _write(tmp_path, [4, 5], first_step=4)
  loss = _events(tmp_path).Scalars('loss')
  assert [x.step for x in loss] == [1, 2, 3, 4, 5]


def test_tensorboard_reads_clips_as_a_moving_picture_side_by_side(tmp_path):
  """Flat frames of few greys, which a GIF keeps as they are."""
  levels = np.array([[0, 60, 120], [250, 180, 90]], np.uint8)
  clips = np.broadcast_to(
    levels[:, :, None, None, None], (2, 3, 8, 6, 3)
  ).copy()
  with logging.Logger(tmp_path, first_step=0) as logger:
    logger.write_clip('samples', clips, fps=8, step=40)
  (event,) = _events(tmp_path).Images('samples')
  assert (event.step, event.width, event.height) == (40, 12, 8)
  picture = Image.open(io.BytesIO(event.encoded_image_string))
  assert picture.format == 'GIF'
  assert picture.n_frames == 3
  for frame in range(3):
    picture.seek(frame)
    assert picture.info['duration'] == pytest.approx(1000 / 8, abs=10)
    pixels = np.asarray(picture.convert('RGB'))
    np.testing.assert_array_equal(pixels[:, :6], clips[0, frame])
    np.testing.assert_array_equal(pixels[:, 6:], clips[1, frame])


def test_performance_has_one_line_a_window_with_its_last_step(tmp_path):
  with logging.Logger(tmp_path, first_step=1) as logger:
    logger.write([1, 2], [{'loss': 1.0}] * 2, {'step_seconds': 0.5})
    logger.write([3], [{'loss': 1.0}], {})
    logger.write([4], [{'loss': 1.0}], {'step_seconds': 0.25})
  assert logging.read(tmp_path / 'performance.jsonl') == [
    {'step': 2, 'step_seconds': 0.5},
    {'step': 4, 'step_seconds': 0.25},
  ]
  assert 'step_seconds' not in (tmp_path / 'metrics.jsonl').read_text()


def test_fields_stand_in_their_step_s_line_and_not_on_the_board(tmp_path):
  with logging.Logger(tmp_path, first_step=1) as logger:
    logger.write(
      [1, 2],
      [{'loss': 1.0}, {'loss': 2.0}],
      {},
      fields=[{'batch': 'a', 'bin': 0.5}, {'batch': 'b'}],
      shown={'bin': 0.75},
    )
  assert logging.read(tmp_path / 'metrics.jsonl') == [
    {'step': 1, 'loss': 1.0, 'batch': 'a', 'bin': 0.5},
    {'step': 2, 'loss': 2.0, 'batch': 'b'},
  ]
  events = _events(tmp_path)
  assert set(events.Tags()['scalars']) == {'loss', 'bin'}
  assert [x.value for x in events.Scalars('bin')] == [0.75]


def _strict(line):
  def refuse(name):
    raise AssertionError(f'{name} is no JSON')

  return json.loads(line, parse_constant=refuse)


def test_what_is_not_finite_is_strict_json_and_reads_back(tmp_path):
  values = {'a': np.nan, 'b': np.inf, 'c': -np.inf, 'd': 1.5}
  with logging.Logger(tmp_path, first_step=1) as logger:
    logger.write([1], [values], {'speed': np.inf}, fields=[{'batch': 'info'}])
  for name in ('metrics', 'performance'):
    path = tmp_path / f'{name}.jsonl'
    for line in path.read_text().splitlines():
      assert _strict(line)['step'] == 1
  (line,) = logging.read(tmp_path / 'metrics.jsonl')
  assert line.pop('batch') == 'info'
  assert line.pop('step') == 1
  np.testing.assert_array_equal(list(line.values()), list(values.values()))
  assert _strict((tmp_path / 'metrics.jsonl').read_text())['b'] == 'inf'


def test_a_resumed_file_is_byte_for_byte_an_uninterrupted_one(tmp_path):
  """Cut in the middle of a window, with what is not finite in it."""
  values = {step: float(np.float32(step) / 7) for step in range(1, 9)}
  values[2] = np.nan

  def write(workdir, windows, first_step):
    with logging.Logger(workdir, first_step=first_step) as logger:
      for window in windows:
        logger.write(
          window, [{'loss': values[x]} for x in window], {'speed': 1e-3}
        )

  write(tmp_path / 'whole', [[1, 2], [3, 4], [5, 6], [7, 8]], 1)
  write(tmp_path / 'parts', [[1, 2], [3, 4], [5, 6]], 1)
  for name in ('metrics', 'performance'):
    with (tmp_path / 'parts' / f'{name}.jsonl').open('a') as file:
      file.write('{"step": 7, "lo')
  write(tmp_path / 'parts', [[5, 6], [7, 8]], 5)
  for name in ('metrics.jsonl', 'performance.jsonl'):
    parts, whole = (tmp_path / x / name for x in ('parts', 'whole'))
    assert parts.read_bytes() == whole.read_bytes()


def test_a_roll_back_drops_lines_of_both_files_and_of_tensorboard(tmp_path):
  with logging.Logger(tmp_path, first_step=1) as logger:
    for steps in ([1, 2], [3, 4], [5, 6]):
      logger.write(steps, [{'loss': 1.0}] * 2, {'speed': 1.0})
    logger.rewind(3)
    for name, steps in (('metrics', [1, 2]), ('performance', [2])):
      lines = logging.read(tmp_path / f'{name}.jsonl')
      assert [line['step'] for line in lines] == steps
    for steps in ([3, 4], [5]):
      logger.write(steps, [{'loss': 2.0}] * len(steps), {'speed': 2.0})
  lines = logging.read(tmp_path / 'metrics.jsonl')
  assert [(x['step'], x['loss']) for x in lines] == [
    (1, 1.0),
    (2, 1.0),
    (3, 2.0),
    (4, 2.0),
    (5, 2.0),
  ]
  windows = logging.read(tmp_path / 'performance.jsonl')
  assert [(x['step'], x['speed']) for x in windows] == [
    (2, 1.0),
    (4, 2.0),
    (5, 2.0),
  ]
  events = _events(tmp_path)
  for name in ('loss', 'speed'):
    got = [(x.step, x.value) for x in events.Scalars(name)]
    assert got == [(2, 1.0), (4, 2.0), (5, 2.0)]


def test_every_window_is_on_disk_when_write_returns(tmp_path):
  """A kill loses nothing that was written."""
  logger = logging.Logger(tmp_path, first_step=1)
  logger.write([1, 2], [{'loss': 1.0}] * 2, {'speed': 1.0})
  assert len(logging.read(tmp_path / 'metrics.jsonl')) == 2
  assert len(logging.read(tmp_path / 'performance.jsonl')) == 1
  logger.__exit__(None, None, None)
