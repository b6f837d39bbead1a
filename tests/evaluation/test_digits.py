"""Reading digits: in any number of frames, each for itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from framebridge_jax.evaluation import digits
from framebridge_jax.models import digit_reader

READER = digit_reader.DigitReader(widths=(8,), classes=10)


def _scaled(frames):
  return jnp.asarray(frames / 127.5 - 1, jnp.float32)


@pytest.fixture(scope='module')
def variables(frames):
  """Random weights that have no favourite among the digits."""
  make = tiny.quick_jit(READER.init)
  made = tiny.shaken(make(jax.random.key(0), _scaled(frames[:1])), std=1.0)
  logits = READER.apply(made, _scaled(frames))
  made['params']['Dense_0']['bias'] -= logits.mean(0)
  return made


@pytest.fixture(scope='module')
def frames():
  rng = np.random.default_rng(0)
  made = np.zeros((130, 8, 8, 3), np.uint8)
  for frame in made:  # one rectangle of one colour in each
    y, x = rng.integers(0, 6, 2)
    height, width = rng.integers(1, 6, 2)
    frame[y : y + height, x : x + width] = rng.integers(0, 256, 3)
  return made


@pytest.fixture(scope='module')
def seen(variables, frames):
  """What the reader sees in frames scaled to [-1, 1]."""
  return np.argmax(READER.apply(variables, _scaled(frames)), axis=-1)


@pytest.mark.parametrize('n', [1, 63, 64, 65, 130])
def test_readings_do_not_depend_on_how_many_frames_are_read(
  n, variables, frames, seen
):
  assert len(np.unique(seen)) > 2
  got = digits.read_digits(READER, variables, frames[:n])
  assert got.shape == (n,)
  np.testing.assert_array_equal(got, seen[:n])


def test_a_frame_is_read_alike_wherever_it_stands(variables, frames, seen):
  order = np.random.default_rng(1).permutation(len(frames))
  got = digits.read_digits(READER, variables, frames[order])
  np.testing.assert_array_equal(got, seen[order])
