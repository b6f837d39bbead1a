"""What a step will take: sums that can be done by hand."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
import pytest

from framebridge_jax.training import (
  chips,
  collectives,
  flops,
  forecast,
  sharding,
  state,
  step,
)

MESH = {'data': 4, 'fsdp': 8, 'tensor': 1, 'frames': 1}
CHIP = chips.Chip('NVIDIA H200', 1000.0, 100.0, 8, 50.0, 10.0)
MEMORY = forecast.Memory(
  params=100, averages=100, optimizer=200, batch=10, temporary=90, total=500
)


def _sent(axes, sent):
  return collectives.Collective('all-reduce', axes, 2, 1, sent, sent)


def _times(chip=CHIP, operations=1.0, **changes):
  known = {
    'memory': MEMORY,
    'exchanges': [],
    'mesh': MESH,
    'utilisation': 0.5,
  }
  return forecast.times(chip, operations=operations, **{**known, **changes})


def test_products_take_their_number_at_the_peak_and_are_expected_at_a_share():
  found = _times(operations=989.5e12 * 20)
  assert found.compute == found.least == pytest.approx(20)
  assert found.expected == pytest.approx(40)


def test_all_that_a_step_holds_is_read_and_written():
  found = _times()
  assert found.memory == found.least == 2 * 500 / 100


def test_groups_within_a_node_use_its_links_and_others_the_network():
  found = _times(exchanges=[_sent('fsdp', 100.0), _sent('data', 100.0)])
  assert found.exchange == 100 / 50 + 100 / 10
  found = _times(exchanges=[_sent('data+fsdp', 100.0), _sent('other', 100.0)])
  assert found.exchange == 100 / 10 + 100 / 10


def test_the_longest_of_the_three_is_the_least():
  found = _times(exchanges=[_sent('data', 1000.0)])
  assert found.least == found.expected == found.exchange == 100


def test_a_step_fits_where_memory_holds_it():
  assert _times().fits
  assert not _times(CHIP._replace(memory=499.0)).fits


def test_the_peak_rate_of_every_chip_is_known():
  for name, chip in chips.CHIPS.items():
    assert flops.peak(chip.kind), name
  with pytest.raises(ValueError, match='peak rate of Abacus'):
    _times(CHIP._replace(kind='Abacus'))


def _init(key):
  kernel = jax.random.normal(key, (64, 32))
  return {
    'shared': nn.LogicallyPartitioned(kernel, ('embed', 'mlp')),
    'whole': nn.LogicallyPartitioned(jnp.zeros((7,)), (None,)),
  }


def _loss(params, batch, keys):
  del keys
  y = batch['video'] @ params['shared']
  return jnp.mean(y**2) + jnp.sum(params['whole'] ** 2), {}


def test_the_memory_of_a_step_is_that_of_the_arrays_it_runs_on():
  """Of each device, as its arrays say when they are there."""
  mesh = sharding.make_mesh(
    {'data': 1, 'fsdp': 2, 'tensor': 2, 'frames': 1}, jax.devices()[:4]
  )
  optimizer = optax.adam(0.1, mu_dtype='bfloat16')
  decays = {'ema_decays': (0.9, 0.99)}
  layout = state.layout(_init, optimizer, mesh, **decays)
  batch = {
    'video': sharding.target(
      jax.ShapeDtypeStruct((8, 64), jnp.float32), sharding.batch_sharding(mesh)
    ),
    'label': sharding.target(
      jax.ShapeDtypeStruct((8,), jnp.int32), sharding.batch_sharding(mesh)
    ),
  }
  step_fn = step.make_step(_loss, optimizer, key=jax.random.key(0), **decays)
  with jax.set_mesh(mesh):
    compiled = (
      step.jitted(step_fn, layout)
      .lower(layout, batch, jax.ShapeDtypeStruct((), jnp.int32))
      .compile()
    )
  found = forecast.memory(compiled, layout, batch)
  now = state.create(_init, optimizer, jax.random.key(0), mesh, **decays)

  def used(tree):
    return sum(
      x.addressable_shards[0].data.nbytes for x in jax.tree.leaves(tree)
    )

  assert found.params == used(now.params) == (32 * 16 + 7) * 4
  assert found.averages == used(now.ema) == 2 * found.params
  assert found.optimizer == used(now.opt_state)
  assert found.batch == 4 * 64 * 4 + 4 * 4
  assert found.total >= sum(
    (found.params, found.averages, found.optimizer, found.batch)
  )
  assert found.total <= 2 * used(now) + found.batch + found.temporary
