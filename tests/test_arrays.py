"""Operations that line arrays up, guard divisions and fold keys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from framebridge_jax import arrays


def _keys(*ids):
  return arrays.sample_keys(jax.random.key(0), jnp.array(ids))


def test_expand_like_lines_frames_up_with_frames():
  t = jnp.arange(6.0).reshape(2, 3)
  z = jnp.ones((2, 3, 3, 2, 1))
  got = arrays.expand_like(t, z) * z
  assert got.shape == z.shape
  for b in range(2):
    for f in range(3):
      np.testing.assert_array_equal(got[b, f], np.full((3, 2, 1), 3 * b + f))


def test_safe_divide_is_division_but_where_the_divisor_is_zero():
  x, y = jnp.array([3.0, 0.0, -2.0, 5.0]), jnp.array([2.0, 4.0, 0.0, -0.0])
  np.testing.assert_array_equal(arrays.safe_divide(x, y), [1.5, 0, 0, 0])
  np.testing.assert_array_equal(
    arrays.safe_divide(x, y, otherwise=7.0), [1.5, 0, 7, 7]
  )


def test_safe_divide_by_zero_leaks_no_nan_into_gradients():
  x, y = jnp.array([3.0, 0.0, 1.0]), jnp.array([2.0, 0.0, 0.0])

  def total(x, y):
    return arrays.safe_divide(x, y).sum()

  dx, dy = jax.grad(total, (0, 1))(x, y)
  np.testing.assert_array_equal(dx, [0.5, 0, 0])
  np.testing.assert_array_equal(dy, [-0.75, 0, 0])


def test_safe_sqrt_is_the_root_with_a_derivative_of_zero_at_zero():
  x = jnp.array([4.0, 0.0, -1e-9])
  np.testing.assert_array_equal(arrays.safe_sqrt(x), [2, 0, 0])
  grad = jax.grad(lambda x: arrays.safe_sqrt(x).sum())(x)
  np.testing.assert_array_equal(grad, [0.25, 0, 0])


def test_masked_mean_weighs_every_element_of_the_chosen_frames_alike():
  x = jnp.array([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]])
  pixels = jnp.array([-1.0, 1.0]).reshape(1, 1, 1, 2, 1)
  x = x[:, :, None, None, None] + pixels * jnp.ones((2, 3, 4, 2, 1))
  mask = jnp.array([[True, False, True], [False, False, True]])
  assert arrays.masked_mean(x, mask) == pytest.approx((1 + 4 + 32) / 3)
  assert arrays.masked_mean(x[..., 0, 0, 0], mask) == pytest.approx(
    (0 + 3 + 31) / 3
  )


def test_masked_mean_of_no_frame_is_zero_and_so_is_its_gradient():
  mask = jnp.zeros((2, 3), bool)

  def mean(x):
    return arrays.masked_mean(x, mask)

  value, grad = jax.value_and_grad(mean)(jnp.ones((2, 3, 1, 1, 1)))
  assert value == 0
  np.testing.assert_array_equal(grad, np.zeros_like(grad))


def test_masked_mean_sends_gradients_to_the_chosen_frames_only():
  mask = jnp.array([[True, False, True]])
  grad = jax.grad(lambda x: arrays.masked_mean(x, mask))(jnp.ones((1, 3, 2)))
  want = np.array([[[0.25] * 2, [0] * 2, [0.25] * 2]])
  np.testing.assert_array_equal(grad, want)


def test_noise_of_a_sample_is_the_same_in_any_batch():
  like = jnp.zeros((3, 2, 4, 4, 1))
  together = arrays.normal_like(arrays.fold(_keys(5, 9, 2), 1), like)
  for row, i in enumerate((5, 9, 2)):
    alone = arrays.normal_like(arrays.fold(_keys(i), 1), like[:1])
    np.testing.assert_array_equal(alone[0], together[row])


def test_samples_purposes_and_steps_draw_independent_noise():
  like = jnp.zeros((2, 4, 16, 16, 1))
  keys = _keys(0, 1)
  draws = [
    arrays.normal_like(arrays.fold(arrays.fold(keys, purpose), step), like)
    for purpose, step in ((0, 0), (0, 1), (1, 0), (1, 1))
  ]
  rows = np.stack([row.ravel() for draw in draws for row in draw])
  slack = 5 / np.sqrt(rows.shape[1])
  np.testing.assert_allclose(np.corrcoef(rows), np.eye(8), atol=slack)


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_noise_is_unit_gaussian_in_the_dtype_asked_for(dtype):
  noise = arrays.normal_like(_keys(3, 4), jnp.zeros((2, 4, 32, 32, 1), dtype))
  assert noise.dtype == dtype
  values = np.asarray(noise, np.float32)
  slack = 5 / np.sqrt(values.size)
  assert values.mean() == pytest.approx(0, abs=slack)
  assert values.std() == pytest.approx(1, abs=slack)
