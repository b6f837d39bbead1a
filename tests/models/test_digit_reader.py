"""The reader of digits: what it must not depend on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from framebridge_jax.models import digit_reader

READER = digit_reader.DigitReader(widths=(8, 16, 24), classes=7)
apply = tiny.quick_jit(READER.apply)


@pytest.fixture(scope='module')
def variables():
  make = tiny.quick_jit(READER.init)
  return tiny.shaken(make(jax.random.key(0), jnp.zeros((1, 16, 16, 3))))


def _frames(n, size):
  rng = np.random.default_rng(0)
  return jnp.asarray(rng.uniform(-1, 1, (n, size, size, 3)), jnp.float32)


def test_one_set_of_weights_reads_frames_of_any_size(variables):
  for size in (16, 24):
    assert apply(variables, _frames(3, size)).shape == (3, 7)


def test_each_stage_after_the_first_halves_the_side(variables):
  _, seen = jax.eval_shape(
    lambda v, x: READER.apply(v, x, capture_intermediates=True),
    variables,
    _frames(2, 16),
  )
  shapes = {
    name: out['__call__'][0].shape
    for name, out in seen['intermediates'].items()
    if name != '__call__'
  }
  assert shapes['Conv_1'] == (2, 16, 16, 8)
  assert shapes['Conv_3'] == (2, 8, 8, 16)
  assert shapes['Conv_5'] == (2, 4, 4, 24)


def test_logits_do_not_depend_on_where_the_digit_stands(variables):
  """Shifts by the stride, farther from the border than any layer sees."""
  ink = np.random.default_rng(1).uniform(-1, 1, (4, 4, 3))
  frames = np.full((3, 64, 64, 3), -1.0, np.float32)
  for row, (y, x) in enumerate([(24, 24), (28, 24), (24, 32)]):
    frames[row, y : y + 4, x : x + 4] = ink
  logits = np.asarray(apply(variables, jnp.asarray(frames)))
  np.testing.assert_allclose(logits[1:], logits[:1].repeat(2, 0), atol=1e-4)
  empty = np.full((1, 64, 64, 3), -1.0, np.float32)
  assert np.abs(apply(variables, jnp.asarray(empty)) - logits[:1]).max() > 1e-2


def test_a_frame_reads_the_same_alone_and_among_others(variables):
  frames = _frames(5, 16)
  together = apply(variables, frames)
  np.testing.assert_allclose(
    apply(variables, frames[3:4])[0], together[3], atol=1e-5
  )
