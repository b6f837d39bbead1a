"""A state is born where the rules put it, and the same on every mesh."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny
from flax import traverse_util

from framebridge_jax.training import sharding, state

ONE = {'data': 1, 'fsdp': 1, 'tensor': 1, 'frames': 1}
NETWORK = tiny.make_latte(stem=4)
# What RULES say of each family of Latte's parameters on fsdp=2 x tensor=2.
WANT = {
  'spatial_0/attention/qkv/kernel': ('fsdp', 'tensor'),
  'spatial_0/attention/out/kernel': ('tensor', 'fsdp'),
  'temporal_0/modulation/kernel': ('fsdp', 'tensor'),
  'temporal_0/mlp_in/kernel': ('fsdp', 'tensor'),
  'temporal_0/mlp_out/kernel': ('tensor', 'fsdp'),
  'patches/kernel': (None, 'fsdp'),
  'final/pixels/kernel': ('fsdp', None),
  'labels/embedding': (None, None),
  'time_in/kernel': (None, 'fsdp'),
  'time_out/kernel': ('fsdp', None),
  'stem/kernel': (None, None, None, None),
  'patches/bias': (None,),
}


def _mesh(**sizes):
  sizes = {**ONE, **sizes}
  count = int(np.prod(list(sizes.values())))
  return sharding.make_mesh(sizes, jax.devices()[:count])


def _create(mesh):
  def init(key):
    return NETWORK.init(key, *tiny.make_inputs())

  return state.create(
    init, optax.adam(1e-3), jax.random.key(0), mesh, ema_decays=(0.9, 0.99)
  )


@pytest.fixture(scope='module')
def born():
  return _create(_mesh(fsdp=2, tensor=2))


def _sides(x):
  """Mesh axis of each array axis, None where it is whole."""
  spec = tuple(x.sharding.spec)
  return spec + (None,) * (x.ndim - len(spec))


def _flat(params):
  return traverse_util.flatten_dict(params['params'], sep='/')


@pytest.mark.parametrize('part', ['params', 'ema', 'mu', 'nu'])
def test_parameters_average_and_moments_are_born_as_the_rules_say(born, part):
  adam = born.opt_state[0]
  trees = {
    'params': born.params,
    'ema': born.ema['0.9'],
    'mu': adam.mu,
    'nu': adam.nu,
  }
  flat = _flat(trees[part])
  for name, want in WANT.items():
    assert _sides(flat[name]) == want, name
  kernel = flat['spatial_0/attention/qkv/kernel']
  assert kernel.shape == (16, 48)
  assert {x.data.shape for x in kernel.addressable_shards} == {(8, 24)}
  assert _sides(born.step) == ()


def test_a_state_is_the_same_on_every_mesh(born):
  alone = _create(_mesh())
  jax.tree.map(np.testing.assert_array_equal, alone, born)


def test_the_averages_are_copies_and_not_the_same_memory(born):
  assert list(born.ema) == ['0.9', '0.99']
  for average in born.ema.values():
    jax.tree.map(np.testing.assert_array_equal, born.params, average)
  where = [
    x.addressable_data(0).unsafe_buffer_pointer()
    for x in jax.tree.leaves((born.params, born.ema))
  ]
  assert len(set(where)) == len(where)


def test_an_axis_that_its_side_does_not_divide_is_replicated():
  mesh = _mesh(fsdp=4)

  def boxed():
    names = ('embed', 'mlp')
    return {
      'whole': nn.LogicallyPartitioned(jnp.ones((6, 8)), names),
      'split': nn.LogicallyPartitioned(jnp.ones((8, 6)), names),
      'batch': nn.LogicallyPartitioned(jnp.ones((6, 8)), ('batch', 'embed')),
    }

  shardings = sharding.of_boxed(jax.eval_shape(boxed), mesh)
  specs = {name: tuple(x.spec) for name, x in shardings.items()}
  assert specs['whole'][0] is None
  assert specs['split'][0] == 'fsdp'
  assert specs['batch'][0] is None


def test_with_params_puts_new_values_where_the_old_ones_lay(born):
  new = jax.tree.map(lambda x: np.full(x.shape, 7, np.float16), born.params)
  other = state.with_params(born, new)
  for part in (other.params, *other.ema.values()):
    for leaf, old in zip(
      jax.tree.leaves(part), jax.tree.leaves(born.params), strict=True
    ):
      assert leaf.sharding == old.sharding
      assert leaf.dtype == old.dtype
      np.testing.assert_array_equal(leaf, np.full(old.shape, 7))
  assert other.opt_state is born.opt_state
  assert other.step is born.step


def test_one_axis_of_the_mesh_takes_the_devices_that_are_left():
  for sizes, want in (
    ({**ONE, 'data': -1}, (4, 1, 1, 1)),
    ({**ONE, 'data': 2, 'tensor': -1}, (2, 1, 2, 1)),
  ):
    mesh = sharding.make_mesh(sizes)
    assert mesh.axis_names == ('data', 'fsdp', 'tensor', 'frames')
    assert mesh.devices.shape == want


def test_a_mesh_of_other_than_the_devices_is_refused_with_both_numbers():
  with pytest.raises(ValueError, match=r'needs 6 devices, there are 4.*-1'):
    sharding.make_mesh({**ONE, 'data': 3, 'fsdp': 2})
  with pytest.raises(ValueError, match=r'there are 4'):
    sharding.make_mesh({**ONE, 'data': -1, 'fsdp': 3})


def test_a_batch_is_split_by_samples_and_nothing_else():
  mesh = _mesh(data=2, fsdp=2)
  video = np.arange(8 * 6, dtype=np.uint8).reshape(8, 6)
  placed = sharding.place_batch({'video': video}, mesh)['video']
  np.testing.assert_array_equal(placed, video)
  shards = sorted(placed.addressable_shards, key=lambda x: x.index[0].start)
  for i, shard in enumerate(shards):
    np.testing.assert_array_equal(shard.data, video[2 * i : 2 * i + 2])


def test_a_batch_is_whole_on_devices_that_share_a_sample():
  placed = sharding.place_batch(np.zeros((8, 2)), _mesh(data=2, tensor=2))
  assert {x.data.shape for x in placed.addressable_shards} == {(4, 2)}


def test_the_layout_is_the_born_state_s_in_shape_and_place(born):
  def init(key):
    return NETWORK.init(key, *tiny.make_inputs())

  mesh = _mesh(fsdp=2, tensor=2)
  layout = state.layout(init, optax.adam(1e-3), mesh, ema_decays=(0.9, 0.99))
  jax.tree.map(_assert_alike, layout, born)


def _assert_alike(a, b):
  assert (a.shape, a.dtype) == (b.shape, b.dtype)
  assert a.sharding.is_equivalent_to(b.sharding, b.ndim)
