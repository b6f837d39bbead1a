"""Low-rank matrices beside frozen ones: nothing at first, their sum at last."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax import traverse_util

from framebridge_jax.training import lora

ADAPTED = lora.Lora(
  rank=2, alpha=3.0, targets=r'/(qkv|out|mlp_in|mlp_out)/kernel$'
)


def _params(adapted=ADAPTED, **options):
  """Of a Latte, all matrices at random, B too unless it is at its start."""
  network = tiny.make_latte(depth=4, **options)
  z, t, cond = tiny.make_inputs()
  init = adapted.grown(lambda key: network.init(key, z, t, cond))
  params = dict(nn.unbox(tiny.quick_jit(init)(jax.random.key(0))))
  params['params'] = tiny.shaken(params['params'])
  return network, params


def _answer(network, params):
  apply = tiny.quick_jit(network.apply)
  return np.asarray(apply(params, *tiny.make_inputs()))


@pytest.mark.parametrize('scan', [False, True])
def test_at_its_start_the_function_is_as_it_was_to_the_bit(scan):
  network, params = _params(scan=scan)
  want = _answer(network, {'params': params['params']})
  assert np.abs(want).max() > 0.1
  got = _answer(network, ADAPTED.merged(params))
  assert got.tobytes() == want.tobytes()


def test_what_was_there_is_initialised_as_without():
  network = tiny.make_latte()
  inputs = tiny.make_inputs()
  init = lambda key: network.init(key, *inputs)  # noqa: E731
  want = nn.unbox(init(jax.random.key(3)))
  got = nn.unbox(ADAPTED.grown(init)(jax.random.key(3)))
  jax.tree.map(np.testing.assert_array_equal, got['params'], want['params'])


class _Beside(nn.Module):
  """Two dense layers, each with the two products of Hu et al. beside it."""

  scale: float

  @nn.compact
  def __call__(self, x):
    for name, width in (('mlp_in', 7), ('mlp_out', 3)):
      a = self.param(f'{name}_a', nn.initializers.zeros, (x.shape[-1], 2))
      b = self.param(f'{name}_b', nn.initializers.zeros, (2, width))
      y = nn.Dense(width, name=name)(x)
      x = jnp.tanh(y + self.scale * ((x @ a) @ b))
    return x


class _Plain(nn.Module):
  @nn.compact
  def __call__(self, x):
    x = jnp.tanh(nn.Dense(7, name='mlp_in')(x))
    return jnp.tanh(nn.Dense(3, name='mlp_out')(x))


def test_the_sum_answers_as_the_two_products_beside_the_layer():
  """Hu et al. 2022, Eq. 3: h = W x + (alpha / rank) B A x."""
  x = jnp.asarray(np.random.default_rng(0).normal(size=(5, 4)), jnp.float32)
  params = nn.unbox(
    ADAPTED.grown(lambda key: _Plain().init(key, x))(jax.random.key(0))
  )
  params = tiny.shaken(params)
  beside = dict(params['params'])
  for name in ('mlp_in', 'mlp_out'):
    pair = params['lora']['params'][name]['kernel']
    beside |= {f'{name}_a': pair['a'], f'{name}_b': pair['b']}
  with jax.numpy_dtype_promotion('standard'), jax.numpy_rank_promotion('allow'):
    want = _Beside(scale=1.5).apply({'params': beside}, x)
    got = _Plain().apply(ADAPTED.merged(params), x)
    plain = _Plain().apply({'params': params['params']}, x)
  assert np.abs(want - plain).max() > 0.05
  np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize('scan', [False, True])
def test_the_chosen_matrices_change_by_the_product_and_no_other_parameter(scan):
  _, params = _params(scan=scan)
  params = {**params, 'lora': tiny.shaken(params['lora'], seed=5)}
  merged = traverse_util.flatten_dict(ADAPTED.merged(params), sep='/')
  before = traverse_util.flatten_dict({'params': params['params']}, sep='/')
  pairs = traverse_util.flatten_dict(params['lora'], sep='/')
  assert merged.keys() == before.keys()
  changed = {x for x in merged if not np.array_equal(merged[x], before[x])}
  assert changed == {x for x in merged if re.search(ADAPTED.targets, x)}
  assert len(changed) == (8 if scan else 16)
  for name in changed:
    a, b = (np.asarray(pairs[f'{name}/{x}'], np.float64) for x in 'ab')
    want = np.asarray(before[name], np.float64) + 1.5 * (a @ b)
    np.testing.assert_allclose(merged[name], want, rtol=1e-6, atol=1e-6)


def test_sides_lie_along_the_mesh_as_their_matrix_does():
  network = tiny.make_latte(scan=True)
  inputs = tiny.make_inputs()
  boxed = jax.eval_shape(
    ADAPTED.grown(lambda key: network.init(key, *inputs)), jax.random.key(0)
  )
  pair = boxed['lora']['params']['pairs']['spatial']['mlp_out']['kernel']
  assert pair['a'].names == ('layers', 'mlp', None)
  assert pair['b'].names == ('layers', None, 'embed')


def test_one_adaptation_is_not_put_on_another():
  """Of another rank and on other matrices as well."""
  _, params = _params()
  other = lora.Lora(rank=1, alpha=1.0, targets='patches/kernel$')
  with pytest.raises(lora.LoraError, match='hold lora/ already.*export'):
    other.grown(lambda key: params)(jax.random.key(0))


@pytest.mark.parametrize(
  ('targets', 'words'),
  [
    ('attention/q/kernel', 'found in no parameter.*params/'),
    ('bias$', r'takes .*bias of shape \(\d+,\), which is no matrix'),
    ('stem/kernel', r'takes .*stem/kernel of shape \(3, 3, .*no matrix'),
  ],
)
def test_targets_that_cannot_be_adapted_are_named(targets, words):
  adapted = lora.Lora(rank=2, alpha=1.0, targets=targets)
  with pytest.raises(lora.LoraError, match=words):
    _params(adapted, stem=4)


@pytest.mark.parametrize(
  ('also', 'frozen', 'trained'),
  [
    ('', ['params/labels/embedding', 'prior/lora/x'], ['lora/params/x/a']),
    ('labels/', ['params/x/kernel'], ['params/labels/embedding', 'lora/x/b']),
  ],
)
def test_what_does_not_train_is_all_but_the_matrices_and_what_is_asked_for(
  also, frozen, trained
):
  found = re.compile(
    lora.Lora(rank=1, alpha=1.0, targets='x', also=also).frozen
  ).search
  assert all(map(found, frozen))
  assert not any(map(found, trained))
