"""Sinusoids against their published forms, entry by entry."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from framebridge_jax.models import embeddings


def test_sinusoid_is_cosines_then_sines_of_latte_s_frequencies():
  """Latte and DiT `timestep_embedding`: exp(-ln(10000) i / 128), width 256.

  In float32 the angle at 1000 is known to about 1e-4; a frequency of i / 127
  or a swapped half differs by more than 0.1.
  """
  times = [0.0, 1.0, 333.25, 1000.0]
  got = embeddings.sinusoid(jnp.array(times, jnp.float32), 256)
  assert got.shape == (4, 256)
  for row, t in enumerate(times):
    for i in range(128):
      angle = t * math.exp(-math.log(10000) * i / 128)
      assert got[row, i] == pytest.approx(math.cos(angle), abs=5e-4)
      assert got[row, 128 + i] == pytest.approx(math.sin(angle), abs=5e-4)


def test_sinusoid_keeps_the_axes_and_tells_close_times_apart():
  t = jnp.array([[0.0, 0.25, 0.5], [1.0, 999.0, 1000.0]])
  got = embeddings.sinusoid(t, 256)
  assert got.shape == (2, 3, 256)
  rows = np.asarray(got).reshape(6, 256)
  gaps = np.linalg.norm(rows[:, None] - rows[None], axis=-1)
  assert gaps[~np.eye(6, dtype=bool)].min() > 0.1


def test_position_table_is_the_form_of_mae_and_dit():
  """`get_1d_sincos_pos_embed_from_grid` (MAE, util/pos_embed.py)."""
  positions, width = [0, 1, 2, 7, 15], 12
  got = embeddings.position_table(np.array(positions, np.float64), width)
  for row, p in enumerate(positions):
    for i in range(width // 2):
      angle = p / 10000 ** (2 * i / width)
      assert got[row, i] == pytest.approx(math.sin(angle), abs=1e-12)
      assert got[row, width // 2 + i] == pytest.approx(
        math.cos(angle), abs=1e-12
      )


def test_grid_table_is_row_major_with_the_column_in_the_first_half():
  """`get_2d_sincos_pos_embed` (MAE): "here w goes first"."""
  rows, columns, width = 3, 5, 16
  got = embeddings.grid_table(
    np.arange(rows, dtype=float), np.arange(columns, dtype=float), width
  )
  assert got.shape == (rows * columns, width)
  quarter = width // 4
  for r in range(rows):
    for k in range(columns):
      entry = got[r * columns + k]
      for i in range(quarter):
        slow = 10000 ** (i / quarter)
        want = [f(x / slow) for x in (k, r) for f in (math.sin, math.cos)]
        np.testing.assert_allclose(entry[i::quarter], want, atol=1e-12)


def test_positions_need_not_be_whole_numbers():
  """A clip of another size than the checkpoint's has places between."""
  got = embeddings.grid_table(np.array([0.5]), np.array([0.0, 1.25]), 8)
  assert got[1, 0] == pytest.approx(math.sin(1.25), abs=1e-12)
  assert got[1, 4] == pytest.approx(math.sin(0.5), abs=1e-12)
  assert got[0, 0] == 0
