"""Norms and activations of the encoders in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from framebridge_jax.models import transformer


class Normed(nn.Module):
  """A norm as the encoders use it."""

  @nn.compact
  def __call__(self, x):
    return transformer.norm(1e-5, 'norm')(x)


@pytest.mark.parametrize('stored', [jnp.float32, jnp.bfloat16])
def test_a_norm_is_exact_far_from_zero(stored):
  """The mean of squares minus the square of the mean would lose it all."""
  rng = np.random.default_rng(0)
  x = 1e3 + rng.normal(size=(3, 64)).astype(np.float32)
  scale, bias = (jnp.asarray(rng.normal(size=64), stored) for _ in 'sb')
  variables = {'params': {'norm': {'scale': scale, 'bias': bias}}}
  y = x - x.mean(axis=1, keepdims=True, dtype=np.float64)
  y = y / np.sqrt((y**2).mean(axis=1, keepdims=True) + 1e-5)
  want = y * np.asarray(scale, np.float64) + np.asarray(bias, np.float64)
  got = jax.jit(Normed().apply)(variables, jnp.asarray(x))
  assert got.dtype == jnp.float32
  np.testing.assert_allclose(got, want, atol=1e-3)


def test_openai_s_gelu_is_x_times_a_sigmoid():
  """At 1, 1 / (1 + exp(-1.702)); the exact one is the normal's share."""
  x = jnp.asarray([-1.0, 0.0, 1.0])
  quick = transformer.ACTIVATIONS['quick_gelu'](x)
  np.testing.assert_allclose(quick, [-0.1542042, 0, 0.8457958], atol=1e-6)
  exact = transformer.ACTIVATIONS['gelu'](x)
  np.testing.assert_allclose(exact, [-0.1586553, 0, 0.8413447], atol=1e-6)
