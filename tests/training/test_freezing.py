"""A tree of parameters comes apart by names, and together again."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from framebridge_jax.training import freezing, sharding, state, step

PARAMS = {
  'params': {'in': {'kernel': 1.0, 'bias': 2.0}, 'out': {'kernel': 3.0}},
  'prior': {'in': {'kernel': 4.0}},
}


@pytest.mark.parametrize(
  ('pattern', 'trained'),
  [
    ('^prior/', [1.0, 2.0, 3.0]),
    ('kernel$', [2.0]),
    ('params/in', [3.0, 4.0]),
    ('', [1.0, 2.0, 3.0, 4.0]),
    ('.', []),
  ],
)
def test_what_comes_apart_is_disjoint_and_goes_together_again(pattern, trained):
  parts = freezing.split(PARAMS, freezing.matching(pattern))
  assert sorted(jax.tree.leaves(parts[0])) == trained
  assert sorted(jax.tree.leaves(parts)) == [1.0, 2.0, 3.0, 4.0]
  assert freezing.joined(*parts) == PARAMS


def test_with_nothing_frozen_a_tree_of_any_kind_stays_what_it_is():
  tree = (1.0, [2.0])
  part, rest = freezing.split(tree, freezing.nothing)
  assert part is tree
  assert freezing.joined(part, rest) is tree


def test_leaves_of_a_part_take_the_place_of_the_tree_s_own():
  part = {'params': {'in': {'bias': 9.0}}}
  over = freezing.over(PARAMS, part)
  assert sorted(jax.tree.leaves(over)) == [1.0, 3.0, 4.0, 9.0]
  assert freezing.like(part, PARAMS) == {'params': {'in': {'bias': 2.0}}}


# A negative zero plus a zero is a positive one: even that may not happen.
START = {
  'still': {'w': np.array([[-0.0, 1.5]], np.float32)},
  'moves': {'w': np.array([[2.0], [3.0]], np.float32)},
}
FROZEN = freezing.matching('^still/')


def _init(key):
  del key
  return jax.tree.map(
    lambda x: nn.LogicallyPartitioned(jnp.asarray(x), ('embed', 'mlp')), START
  )


def _loss(params, batch, keys):
  """Its gradient is NaN in what is frozen, and finite in what is not."""
  del keys
  y = params['still']['w'] @ params['moves']['w'] + batch['label'].sum()
  return jnp.sum(y**2) + jnp.sum(jnp.sqrt(0.0 * params['still']['w'])), {}


def test_what_is_frozen_stays_to_the_bit_and_has_neither_gradient_nor_average():
  mesh = sharding.make_mesh(
    {'data': 1, 'fsdp': 1, 'tensor': 1, 'frames': 1}, jax.devices()[:1]
  )
  optimizer = optax.multi_transform(
    {'train': optax.adam(0.1), 'freeze': optax.set_to_zero()},
    {'still': 'freeze', 'moves': 'train'},
  )
  now = state.create(
    _init,
    optimizer,
    jax.random.key(0),
    mesh,
    ema_decays=(0.5,),
    frozen=FROZEN,
  )
  assert now.ema['0.5'].keys() == {'moves'}
  before = np.array(now.params['moves']['w'])
  step_fn = jax.jit(
    step.make_step(
      _loss,
      optimizer,
      ema_decays=(0.5,),
      key=jax.random.key(0),
      frozen=FROZEN,
    )
  )
  for k in range(3):
    now, scalars = step_fn(now, {'label': jnp.ones(2, jnp.float32)}, k)
    assert not scalars['skipped'], scalars
  assert np.array(now.params['still']['w']).tobytes() == (
    START['still']['w'].tobytes()
  )
  assert np.abs(now.params['moves']['w'] - before).max() > 1e-3
  whole = state.averaged(now, '0.5')
  assert whole.keys() == {'still', 'moves'}
  np.testing.assert_array_equal(
    whole['moves']['w'], now.ema['0.5']['moves']['w']
  )
  assert whole['still']['w'] is now.params['still']['w']


def test_averages_follow_new_weights_in_what_they_hold():
  mesh = sharding.make_mesh(
    {'data': 1, 'fsdp': 1, 'tensor': 1, 'frames': 1}, jax.devices()[:1]
  )
  now = state.create(
    _init,
    optax.sgd(0.1),
    jax.random.key(0),
    mesh,
    ema_decays=(0.5, 0.9),
    frozen=FROZEN,
  )
  other = state.with_params(now, jax.tree.map(lambda x: x + 1, START))
  for average in other.ema.values():
    assert average.keys() == {'moves'}
    np.testing.assert_array_equal(
      average['moves']['w'], START['moves']['w'] + 1
    )
