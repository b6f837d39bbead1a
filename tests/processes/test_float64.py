import jax.numpy as jnp


def test_this_folder_computes_in_float64():
  assert jnp.ones(2).dtype == jnp.float64
