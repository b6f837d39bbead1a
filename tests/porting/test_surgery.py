"""Warm starts: what is changed in the weights does not change the function."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax import traverse_util

from framebridge_jax.porting import surgery

RNG = np.random.default_rng(0)


@functools.partial(tiny.quick_jit, static_argnums=0)
def _apply(network, flat, z, t, cond):
  return network.apply(traverse_util.unflatten_dict(flat, sep='/'), z, t, cond)


def _shapes(network):
  inputs = tiny.make_inputs()
  params = jax.eval_shape(
    lambda key: nn.unbox(network.init(key, *inputs)), jax.random.key(0)
  )
  flat = traverse_util.flatten_dict(params, sep='/')
  return {name: x.shape for name, x in flat.items()}


def _flat(network):
  """Random parameters by path: no gate is shut."""
  return {
    name: (0.3 * RNG.normal(size=shape)).astype(np.float32)
    for name, shape in _shapes(network).items()
  }


@pytest.mark.parametrize('scan', [False, True])
def test_a_widened_network_ignores_its_new_channels(scan):
  """Zeros in the new rows: whatever a prior holds, the function is the old."""
  z, t, cond = tiny.make_inputs()
  old, new = tiny.make_latte(prior=False), tiny.make_latte(scan=scan)
  flat = _flat(old)
  want = _apply(old, flat, z, t, cond)
  assert np.abs(want).max() > 0.1
  wide = surgery.adapt(flat, _shapes(new), patch=4)
  assert {n: x.shape for n, x in wide.items()} == _shapes(new)
  for prior in (cond.prior, 1e3 * cond.prior, 0 * cond.prior):
    got = _apply(new, wide, z, t, cond._replace(prior=prior))
    np.testing.assert_allclose(got, want, atol=1e-5 * np.abs(want).max())


def test_new_channels_are_the_last_of_every_pixel():
  kernel = RNG.normal(size=(2 * 2 * 3, 5)).astype(np.float32)
  wide = surgery.widen(kernel, (2 * 2 * 7, 5), patch=2)
  for pixel in range(4):
    np.testing.assert_array_equal(
      wide[7 * pixel : 7 * pixel + 3], kernel[3 * pixel : 3 * pixel + 3]
    )
    assert (wide[7 * pixel + 3 : 7 * pixel + 7] == 0).all()
  assert wide.dtype == np.float32
  np.testing.assert_array_equal(
    surgery.widen(kernel, kernel.shape, patch=2), kernel
  )


@pytest.mark.parametrize('shape', [(8, 5), (28, 6), (28, 4)])
def test_channels_are_not_taken_away_and_tokens_not_changed(shape):
  kernel = np.zeros((12, 5), np.float32)
  with pytest.raises(ValueError, match=r'3 channels \(12, 5\) cannot be'):
    surgery.widen(kernel, shape, patch=2)


def test_label_tables_keep_classes_and_the_null_class_last():
  table = np.arange(6, dtype=np.float32)[:, None] * np.ones(3, np.float32)
  np.testing.assert_array_equal(surgery.resize_labels(table, 6), table)
  fewer = surgery.resize_labels(table, 3)
  np.testing.assert_array_equal(fewer[:, 0], [0, 1, 5])
  more = surgery.resize_labels(table, 9)
  np.testing.assert_array_equal(more[:, 0], [0, 1, 2, 3, 4, 5, 5, 5, 5])
  np.testing.assert_array_equal(surgery.resize_labels(table, 1)[:, 0], [5])


def test_a_network_of_more_classes_says_what_the_old_one_said():
  z, t, cond = tiny.make_inputs()
  old, new = tiny.make_latte(), tiny.make_latte(classes=8)
  flat = _flat(old)
  wide = surgery.adapt(flat, _shapes(new), patch=4)
  for label, renamed in ((1, 1), (tiny.CLASSES, 8), (tiny.CLASSES, 6)):
    labels = (jnp.full(2, x, jnp.int32) for x in (label, renamed))
    was, now = (cond._replace(label=x) for x in labels)
    np.testing.assert_array_equal(
      _apply(new, wide, z, t, now), _apply(old, flat, z, t, was)
    )


def test_stacked_pairs_come_back_as_they_were():
  flat = {
    f'params/{kind}_{i}/mlp_in/{leaf}': RNG.normal(size=(2, 3))
    for i in range(12)
    for kind in ('spatial', 'temporal')
    for leaf in ('kernel', 'bias')
  }
  flat['params/final/pixels/bias'] = RNG.normal(size=2)
  stacked = surgery.stack_pairs(flat)
  assert stacked.keys() == {
    'params/pairs/spatial/mlp_in/kernel',
    'params/pairs/spatial/mlp_in/bias',
    'params/pairs/temporal/mlp_in/kernel',
    'params/pairs/temporal/mlp_in/bias',
    'params/final/pixels/bias',
  }
  layer = stacked['params/pairs/temporal/mlp_in/bias'][11]
  np.testing.assert_array_equal(layer, flat['params/temporal_11/mlp_in/bias'])
  back = surgery.unstack_pairs(stacked)
  assert back.keys() == flat.keys()
  for name, x in flat.items():
    np.testing.assert_array_equal(back[name], x)
  assert surgery.stack_pairs(stacked).keys() == stacked.keys()


@pytest.mark.parametrize('scan', [False, True])
@pytest.mark.parametrize('to', [False, True])
def test_adapt_takes_any_layout_of_blocks_to_any_other(scan, to):
  network, other = (tiny.make_latte(depth=4, scan=x) for x in (scan, to))
  flat = _flat(network)
  before = dict(flat)
  adapted = surgery.adapt(flat, _shapes(other), patch=4)
  assert {n: x.shape for n, x in adapted.items()} == _shapes(other)
  assert flat.keys() == before.keys()
  back = surgery.adapt(adapted, _shapes(network), patch=4)
  for name, x in before.items():
    np.testing.assert_array_equal(back[name], x)


def test_adapt_leaves_to_a_strict_fit_what_it_does_not_know():
  """A new stride MLP is neither made up here nor passed over in silence."""
  network = tiny.make_latte(stride=True)
  adapted = surgery.adapt(_flat(tiny.make_latte()), _shapes(network), patch=4)
  missing = _shapes(network).keys() - adapted.keys()
  assert {name.split('/')[1] for name in missing} == {'stride_in', 'stride_out'}


def test_a_ported_teacher_becomes_a_student_that_sees_a_prior_and_a_stride():
  """All at once: channels, classes, layout; the old function stays."""
  z, t, cond = tiny.make_inputs()
  old = tiny.make_latte(prior=False, depth=4)
  new = tiny.make_latte(classes=7, depth=4, scan=True, stride=True)
  flat = _flat(old)
  adapted = surgery.adapt(flat, _shapes(new), patch=4)
  fresh = traverse_util.flatten_dict(tiny.init(new), sep='/')
  student = fresh | adapted
  want = _apply(old, flat, z, t, cond)
  got = _apply(new, student, z, t, cond)
  np.testing.assert_allclose(got, want, atol=1e-5 * np.abs(want).max())
  assert fresh.keys() - adapted.keys() == {
    f'params/stride_{end}/{leaf}'
    for end in ('in', 'out')
    for leaf in ('kernel', 'bias')
  }
