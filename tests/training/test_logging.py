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
