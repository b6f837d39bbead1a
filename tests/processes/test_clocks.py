"""The time a network is fed."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from framebridge_jax.processes import clocks

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden/framebridge_schedule.npz'


def test_a_continuous_network_is_fed_a_multiple_of_the_time():
  t = jnp.array([[0.0, 0.25, 1.0]])
  np.testing.assert_array_equal(clocks.Continuous()(t), [[0, 250, 1000]])
  np.testing.assert_array_equal(clocks.Continuous(scale=8.0)(t), [[0, 2, 8]])


def test_a_network_of_a_table_is_fed_its_index():
  """Entry n stands at (n + 1) / N; between entries the index is real."""
  n = np.arange(1000)
  fed = clocks.Table()(jnp.asarray((n + 1) / 1000)[None])
  np.testing.assert_allclose(fed[0], n, atol=1e-9)
  between = clocks.Table(entries=4)(jnp.array([[0.375, 0.9375]]))
  np.testing.assert_array_equal(between, [[0.5, 2.75]])


def test_a_clean_frame_reads_as_the_first_index():
  fed = clocks.Table()(jnp.array([[0.0, 1e-30, 0.0005, 0.001]]))
  np.testing.assert_array_equal(fed, np.zeros((1, 4)))


def test_a_table_of_1001_gives_the_index_on_framebridge_s_grid():
  with np.load(GOLDEN) as golden:
    t = jnp.asarray(golden['t_grid'])[None]
  fed = clocks.Table(entries=1001)(t)
  np.testing.assert_allclose(fed[0], np.arange(1000), atol=1e-9)


def test_an_edm_network_is_fed_a_quarter_of_log_sigma():
  """Karras et al. 2022, Table 1; a clean frame as the least noise seen."""
  t = np.array([[0.0, 0.002, 0.5, 80.0]])
  want = np.log([[0.002, 0.002, 0.5, 80.0]]) / 4
  got = clocks.LogSigma()(jnp.asarray(t))
  np.testing.assert_allclose(got, want, rtol=1e-12)
  got = clocks.LogSigma(sigma_min=0.1)(jnp.asarray(t))
  np.testing.assert_allclose(got[0, :2], np.log(0.1) / 4, rtol=1e-12)


@pytest.mark.parametrize('name', clocks.CLOCKS)
@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_clocks_keep_the_precision_and_finite_gradients_at_the_ends(
  name, dtype
):
  clock = clocks.CLOCKS[name]()
  t = jnp.array([[0.0, 1e-30, 0.3, 1.0]], dtype)
  fed, pull = jax.vjp(clock, t)
  assert fed.dtype == dtype
  (grad,) = pull(jnp.ones_like(fed))
  for values in (fed, grad):
    assert np.isfinite(values.astype(jnp.float32)).all()
