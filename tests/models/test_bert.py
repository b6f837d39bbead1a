"""Laws of BERT's encoder; its numbers are compared in tests/porting."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from framebridge_jax.models import bert

NETWORK = bert.Bert(
  vocab=20, length=8, types=2, width=16, heads=2, depth=2, mlp=32
)
IDS = jnp.asarray([[1, 5, 7, 2, 0], [1, 9, 3, 4, 2]], jnp.int32)
MASK = IDS > 0


@functools.partial(tiny.quick_jit, static_argnums=0)
def _apply(network, variables, ids):
  return network.apply(variables, ids, MASK)


@pytest.fixture(scope='module')
def variables():
  made = tiny.quick_jit(NETWORK.init)(jax.random.key(0), IDS, MASK)
  return tiny.shaken(made)


def test_tokens_outside_the_mask_have_no_say(variables):
  got = _apply(NETWORK, variables, IDS)
  other = _apply(NETWORK, variables, jnp.where(MASK, IDS, 13))
  np.testing.assert_array_equal(got[MASK], other[MASK])
  np.testing.assert_array_equal(bert.pool(got, MASK), bert.pool(other, MASK))


def test_a_token_hears_those_behind_it(variables):
  got = _apply(NETWORK, variables, IDS)
  other = _apply(NETWORK, variables, IDS.at[:, 3].set(6))
  assert (got[:, 0] != other[:, 0]).any(axis=-1).all()


def test_a_sentence_is_the_mean_of_its_tokens_at_length_1():
  hidden = jnp.asarray([[[3.0, 0.0], [3.0, 8.0], [9.0, 9.0]]])
  mask = jnp.asarray([[True, True, False]])
  np.testing.assert_allclose(bert.pool(hidden, mask), [[0.6, 0.8]], atol=1e-7)


def test_a_sentence_of_no_tokens_is_zero():
  got = bert.pool(jnp.ones((1, 2, 3)), jnp.zeros((1, 2), bool))
  np.testing.assert_array_equal(got, np.zeros((1, 3)))


def test_a_text_longer_than_the_encoder_is_refused(variables):
  ids = jnp.zeros((1, 9), jnp.int32)
  with pytest.raises(ValueError, match='9 tokens, the encoder reads 8'):
    NETWORK.apply(variables, ids, ids == 0)


def test_parameters_in_bfloat16_say_the_same_within_their_digits(variables):
  """Bfloat16 has 3 digits; what is said stays float32."""
  want = _apply(NETWORK, variables, IDS)
  stored = jax.tree.map(lambda x: x.astype(jnp.bfloat16), variables)
  network = dataclasses.replace(NETWORK, dtype=jnp.bfloat16)
  got = _apply(network, stored, IDS)
  assert got.dtype == jnp.float32
  assert 1e-4 < jnp.abs(got - want).max() < 0.15
