"""Attention against softmax attention in numpy, with and without anchor."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax import linen as nn

from framebridge_jax.models import attention

B, M, T, D, HEADS = 2, 3, 4, 16, 2
MODULE = attention.SelfAttention(HEADS, 'default', jnp.float32)
apply = tiny.quick_jit(MODULE.apply)


def _tokens(seed=0):
  x = np.random.default_rng(seed).normal(size=(B, M, T, D))
  return jnp.asarray(x, jnp.float32)


@pytest.fixture(scope='module')
def variables():
  made = nn.unbox(MODULE.init(jax.random.key(0), _tokens()))
  return tiny.shaken(made)


def test_groups_attend_to_their_own_tokens_as_numpy_does(variables):
  x = _tokens()
  got = apply(variables, x)
  for b in range(B):
    for m in range(M):
      want = tiny.attend(
        variables['params'], np.asarray(x[b, m], np.float64), heads=HEADS
      )
      np.testing.assert_allclose(got[b, m], want, atol=2e-5)


def test_with_an_anchor_a_group_also_sees_the_anchor_s_tokens(variables):
  x, anchor = _tokens(), np.array([[0, 0, 1], [2, 0, 2]])
  got = apply(variables, x, jnp.asarray(anchor, jnp.int32))
  tokens = np.asarray(x, np.float64)
  for b in range(B):
    for m in range(M):
      context = np.concatenate([tokens[b, m], tokens[b, anchor[b, m]]])
      want = tiny.attend(
        variables['params'], tokens[b, m], heads=HEADS, context=context
      )
      np.testing.assert_allclose(got[b, m], want, atol=2e-5)


def test_a_group_that_is_its_own_anchor_sees_nothing_new(variables):
  x = _tokens()
  own = jnp.broadcast_to(jnp.arange(M), (B, M))
  np.testing.assert_allclose(
    apply(variables, x, own), apply(variables, x), atol=2e-6
  )


def test_tokens_have_no_order_of_their_own(variables):
  x, order = _tokens(), np.array([2, 0, 3, 1])
  np.testing.assert_allclose(
    apply(variables, x[:, :, order]),
    apply(variables, x)[:, :, order],
    atol=2e-6,
  )


@pytest.mark.parametrize('anchored', [False, True])
@pytest.mark.parametrize('kernel', ['xla', 'heads_first'])
def test_rows_of_attentions_are_one_function(variables, kernel, anchored):
  """cuDNN wants a GPU; scores up to about 50 would overflow a bare exp."""
  x = 10 * _tokens()
  anchor = jnp.array([[0, 0, 1], [2, 0, 2]]) if anchored else None
  module = attention.SelfAttention(HEADS, kernel, jnp.float32)
  want = np.asarray(apply(variables, x, anchor))
  got = tiny.quick_jit(module.apply)(variables, x, anchor)
  np.testing.assert_allclose(got, want, atol=2e-6 * np.abs(want).max())
  half = attention.SelfAttention(HEADS, kernel, jnp.bfloat16)
  got = tiny.quick_jit(half.apply)(variables, x, anchor)
  assert got.dtype == jnp.bfloat16
  got = np.asarray(got, np.float32)
  assert np.linalg.norm(got - want) < 0.1 * np.linalg.norm(want)


@pytest.mark.parametrize('kernel', ['xla', 'heads_first'])
def test_rows_of_attentions_have_one_gradient(variables, kernel):
  def loss(kernel, variables, x):
    module = attention.SelfAttention(HEADS, kernel, jnp.float32)
    return jnp.sum(jnp.sin(module.apply(variables, x)))

  grads = [
    tiny.quick_jit(jax.grad(functools.partial(loss, name), argnums=(0, 1)))(
      variables, _tokens()
    )
    for name in ('default', kernel)
  ]
  for want, got in zip(*map(jax.tree.leaves, grads), strict=True):
    scale = float(np.abs(want).max())
    np.testing.assert_allclose(got, want, atol=2e-5 * scale)


def test_every_row_is_tested_or_needs_a_gpu():
  rows = set(attention.ATTENTIONS)
  assert rows == {'default', 'xla', 'heads_first', 'cudnn'}
