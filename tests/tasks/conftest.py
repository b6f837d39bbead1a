"""Sampling compiles much and computes little here."""

import jax
import pytest


@pytest.fixture(autouse=True, scope='module')
def quick():
  """Compiles in half the time; the numbers stay float32's."""
  name = 'jax_disable_most_optimizations'
  before = jax.config.values[name]
  jax.config.update(name, True)
  yield
  jax.config.update(name, before)
