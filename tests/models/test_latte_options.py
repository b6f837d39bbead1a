"""Latte's options: sizes, conditions, grids, scanned layers, remat."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax import traverse_util

from framebridge_jax.models import embeddings, latte
from framebridge_jax.porting import surgery, weights

B, F, C = 2, tiny.FRAMES, tiny.CHANNELS
FULL = functools.partial(
  tiny.make_latte,
  text_width=tiny.TEXT,
  stride=True,
  image_frame=True,
  learned_variance=True,
)
BARE = functools.partial(tiny.make_latte, classes=0, prior=False)
UNTIMED = functools.partial(tiny.make_latte, timed=False, prior=False)


@functools.partial(tiny.quick_jit, static_argnums=0)
def _apply(network, variables, z, t, cond):
  return network.apply(variables, z, t, cond)


@functools.partial(tiny.quick_jit, static_argnums=0)
def _grad(network, variables, z, t, cond):
  """Gradient of a sum that no symmetry of the output makes 0, and it."""

  def loss(variables):
    out = network.apply(variables, z, t, cond)
    wave = jnp.sin(jnp.arange(out.size, dtype=jnp.float32))
    return jnp.sum(out * wave.reshape(out.shape))

  return jax.value_and_grad(loss)(variables)


def _flat(variables):
  return traverse_util.flatten_dict(variables, sep='/')


def _nested(flat):
  return traverse_util.unflatten_dict(flat, sep='/')


# Trainable parameters of the public code at 16 frames of 32 x 32 x 4 with
# learned variance, counted there: unconditional, and with 101 classes.
COUNTS = {
  's': (32_480_672, 32_519_840),
  'b': (129_547_040, 129_625_376),
  'l': (456_815_648, 456_920_096),
  'xl': (673_681_568, 673_799_072),
}
# Depth, width, heads (Latte, Table 1; heads leave no trace in the shapes).
NUMBERS = {
  's': (12, 384, 6),
  'b': (12, 768, 12),
  'l': (24, 1024, 16),
  'xl': (28, 1152, 16),
}


@pytest.mark.parametrize('size', COUNTS)
def test_sizes_have_the_parameters_of_the_public_code(size):
  """One of the two is scanned, which must not change what there is."""
  z = jnp.zeros((1, 16, 32, 32, 4))
  t, cond = jnp.zeros((1, 16)), latte.Cond(label=jnp.zeros(1, jnp.int32))
  for classes, scan, want in zip(
    (0, 101), (False, True), COUNTS[size], strict=True
  ):
    network = latte.MODELS[f'latte_{size}2'](
      classes=classes, learned_variance=True, scan=scan
    )
    params = jax.eval_shape(network.init, jax.random.key(0), z, t, cond)
    assert weights.count(params) == want
    assert (network.depth, network.width, network.heads) == NUMBERS[size]
    assert network.patch == 2


def test_parameters_begin_as_the_public_code_begins_them():
  """Latte's `initialize_weights`: Xavier, but for classes, times and zeros."""
  network = tiny.make_latte(width=64, classes=50, text_width=tiny.TEXT)
  for name, x in _flat(tiny.init(network)).items():
    layer, leaf = name.split('/')[-2:]
    if leaf == 'bias' or layer in ('modulation', 'pixels'):
      assert (x == 0).all(), name
    elif layer in ('labels', 'time_in', 'time_out'):
      assert np.std(x) == pytest.approx(0.02, rel=0.1), name
      assert np.abs(x).max() > 3 * 0.02, name
    else:
      bound = (6 / sum(x.shape)) ** 0.5
      assert np.abs(x).max() == pytest.approx(bound, rel=0.02), name
      assert np.std(x) == pytest.approx(bound / 3**0.5, rel=0.1), name


def test_equal_times_are_one_time_broadcast_to_the_bit():
  """A block cannot tell a clip's condition from one repeated for its frames."""
  rng = np.random.default_rng(0)
  x = jnp.asarray(rng.normal(size=(B, F, 5, 16)), jnp.float32)
  c = jnp.asarray(rng.normal(size=(B, 1, 1, 16)), jnp.float32)
  block = latte.Block(2, 'default', jnp.float32)
  variables = tiny.shaken(
    nn.unbox(tiny.quick_jit(block.init)(jax.random.key(0), x, c))
  )
  run = tiny.quick_jit(block.apply)
  np.testing.assert_array_equal(
    run(variables, x, c), run(variables, x, jnp.repeat(c, F, axis=1))
  )


def test_only_the_frames_table_tells_frames_apart():
  """With all frames at position 0, permuted frames and times permute."""
  z, t, cond = tiny.make_inputs()
  order = np.array([3, 1, 0, 2])
  anchor = np.array([[0, 0, 3, 3], [1, 1, 1, 2]])
  cond = cond._replace(anchor=jnp.asarray(anchor, jnp.int32))
  permuted = cond._replace(
    prior=cond.prior[:, order],
    anchor=jnp.asarray(np.argsort(order)[anchor[:, order]], jnp.int32),
  )
  blind = tiny.make_latte(anchor=True, depth=4, trained_grid=(0, 2, 2))
  sees = tiny.make_latte(anchor=True, depth=4)
  variables = tiny.shaken(tiny.init(sees))
  for network, same in ((blind, True), (sees, False)):
    want = _apply(network, variables, z, t, cond)[:, order]
    got = _apply(network, variables, z[:, order], t[:, order], permuted)
    apart = np.abs(got - want).max() / np.abs(want).max()
    assert apart < 1e-5 if same else apart > 1e-2


@pytest.mark.parametrize(
  'network',
  [
    FULL(),
    *(
      pytest.param(x, marks=pytest.mark.slow)
      for x in (FULL(scan=True), BARE(), UNTIMED())
    ),
  ],
  ids=['full', 'scanned', 'bare', 'untimed'],
)
def test_gradients_reach_every_parameter_once_nothing_is_zero(network):
  inputs = tiny.make_inputs()
  _, grads = _grad(network, tiny.shaken(tiny.init(network)), *inputs)
  for name, grad in _flat(grads).items():
    grad = np.asarray(grad)
    assert np.isfinite(grad).all(), name
    # A key's bias shifts all scores alike: a third of qkv's bias is 0.
    share = (np.abs(grad) > 1e-9).mean()
    want = len(set(np.asarray(inputs[2].label))) / 6
    floor = {'embedding': want, 'bias': 0.6, 'kernel': 0.9}
    assert share >= floor[name.rpartition('/')[2]] - 1e-6, name


def test_scanned_and_recomputed_layers_are_the_same_function():
  plain = FULL(depth=4)
  inputs = tiny.make_inputs()
  variables = tiny.shaken(tiny.init(plain))
  want, grads = _grad(plain, variables, *inputs)
  grads = {name: np.asarray(x) for name, x in _flat(grads).items()}
  stacked = surgery.stack_pairs(
    {name: np.asarray(x) for name, x in _flat(variables).items()}
  )
  for scan, remat in ((True, 'dots'), (False, 'full')):
    network = FULL(depth=4, scan=scan, remat=remat)
    mine = jax.tree.map(jnp.asarray, _nested(stacked)) if scan else variables
    got, got_grads = _grad(network, mine, *inputs)
    assert abs(got - want) <= 1e-6 * _scale(plain, variables, inputs)
    got_grads = {n: np.asarray(x) for n, x in _flat(got_grads).items()}
    got_grads = surgery.unstack_pairs(got_grads)
    assert got_grads.keys() == grads.keys()
    for name, grad in grads.items():
      np.testing.assert_allclose(
        got_grads[name], grad, atol=2e-5 * np.abs(grad).max(), err_msg=name
      )


@pytest.mark.parametrize('scan', [False, True])
@pytest.mark.parametrize('remat', latte.REMATS)
def test_remat_wraps_every_block_with_its_policy(remat, scan):
  """In the traced program; a scanned pair stands in it once."""
  network = tiny.make_latte(depth=4, scan=scan, remat=remat)
  inputs = tiny.make_inputs()
  variables = jax.eval_shape(
    lambda key: nn.unbox(network.init(key, *inputs)), jax.random.key(0)
  )
  program = str(jax.make_jaxpr(network.apply)(variables, *inputs))
  blocks = 0 if remat == 'none' else 2 if scan else 4
  assert program.count('prevent_cse') == blocks
  assert program.count('policy=None') == blocks * (remat == 'full')


def _scale(network, variables, inputs):
  return float(np.abs(_apply(network, variables, *inputs)).sum())


def test_scanned_layers_of_a_fresh_network_are_not_copies_of_one():
  network = tiny.make_latte(depth=4, scan=True)
  flat = _flat(tiny.init(network))
  kernel = flat['params/pairs/spatial/mlp_in/kernel']
  assert kernel.shape[0] == 2
  assert np.abs(kernel[0] - kernel[1]).max() > 0.1
  # Xavier of one layer: sqrt(6 / (16 + 64)), not of the stack.
  assert np.abs(kernel).max() == pytest.approx((6 / 80) ** 0.5, rel=0.02)


def test_a_stride_has_no_say_at_first_and_then_it_has():
  """Zero-initialised: a network without it goes on as it was."""
  network, without = tiny.make_latte(stride=True), tiny.make_latte()
  flat = _flat(tiny.shaken(tiny.init(network)))
  fresh = _flat(tiny.init(network))
  out = [name for name in flat if 'stride_out' in name]
  assert len(out) == 2
  shut = _nested(flat | {name: fresh[name] for name in out})
  rest = _nested({n: x for n, x in flat.items() if 'stride' not in n})
  z, t, cond = tiny.make_inputs()
  want = _apply(without, rest, z, t, cond)
  np.testing.assert_array_equal(_apply(network, shut, z, t, cond), want)
  first = _apply(network, _nested(flat), z, t, cond)
  other = cond._replace(stride=cond.stride.at[1].add(1.0))
  heard = np.abs(_apply(network, _nested(flat), z, t, other) - first)
  assert (heard[0] == 0).all()
  assert (heard[1].max((1, 2, 3)) > 1e-3).all()


def test_image_text_and_prior_are_heard_by_every_frame_of_their_clip():
  network = FULL()
  variables = tiny.shaken(tiny.init(network))
  z, t, cond = tiny.make_inputs()
  first = _apply(network, variables, z, t, cond)
  assert first.shape == (*z.shape[:-1], 2 * C)
  for name in ('image', 'text', 'prior'):
    other = cond._replace(**{name: getattr(cond, name).at[1].add(1.0)})
    heard = np.abs(_apply(network, variables, z, t, other) - first)
    assert (heard[0] == 0).all(), name
    assert (heard[1].max((1, 2, 3)) > 1e-3).all(), name


def _modulations(network, variables, *inputs):
  """What a pair of blocks and the last layer are modulated by."""
  watch = functools.partial(
    network.apply, capture_intermediates=True, mutable='intermediates'
  )
  _, seen = tiny.quick_jit(watch)(variables, *inputs)
  return {
    name: np.asarray(
      seen['intermediates'][name]['modulation']['__call__'][0]
    ).reshape(B, -1, (2 if name == 'final' else 6) * 16)
    for name in ('spatial_0', 'temporal_0', 'final')
  }


def test_the_image_s_frame_hears_the_time_of_the_first_frame():
  network = tiny.make_latte(image_frame=True)
  variables = tiny.shaken(tiny.init(network))
  for name, c in _modulations(network, variables, *tiny.make_inputs()).items():
    assert c.shape[1] == F + 1, name
    np.testing.assert_array_equal(c[:, 0], c[:, 1], err_msg=name)
    assert (np.abs(c[:, :1] - c[:, 2:]).max(2) > 1e-2).all(), name


def test_all_layers_but_the_last_hear_a_text():
  """Latte's `forward`: under `extras == 78` the final layer's c is the time."""
  network = tiny.make_latte(text_width=tiny.TEXT)
  variables = tiny.shaken(tiny.init(network))
  z, t, cond = tiny.make_inputs()
  first, text, label = (
    _modulations(network, variables, z, t, x)
    for x in (
      cond,
      cond._replace(text=cond.text + 1),
      cond._replace(label=(cond.label + 1) % tiny.CLASSES),
    )
  )
  for name, want in first.items():
    assert np.abs(label[name] - want).max() > 1e-2, name
    assert (np.abs(text[name] - want).max() > 1e-2) == (name != 'final'), name


def test_an_untimed_network_does_not_hear_the_time():
  network = UNTIMED()
  variables = tiny.shaken(tiny.init(network))
  z, t, cond = tiny.make_inputs()
  first = _apply(network, variables, z, t, cond)
  np.testing.assert_array_equal(
    _apply(network, variables, z, t + 100, cond), first
  )
  assert not any('time' in name for name in _flat(variables))


def test_a_trained_grid_squeezes_positions_into_itself():
  """4 frames of 2 x 2 tokens in a grid of 2 x 1 x 1: half steps everywhere."""
  network = tiny.make_latte(trained_grid=(2, 1, 1))
  flat = _flat(tiny.init(network))
  names = 'params/patches/kernel', 'params/patches/bias'
  flat |= {name: jnp.zeros_like(flat[name]) for name in names}
  watch = functools.partial(
    network.apply, capture_intermediates=True, mutable='intermediates'
  )
  _, seen = tiny.quick_jit(watch)(_nested(flat), *tiny.make_inputs())
  halves = np.array([0.0, 0.5])
  place = embeddings.grid_table(halves, halves, 16)[None, None]
  frames = np.array([0.0, 0.5, 1.0, 1.5])
  frame = embeddings.position_table(frames, 16)[None, :, None]
  got = np.asarray(seen['intermediates']['temporal_0']['__call__'][0])
  want = np.broadcast_to((place + frame).swapaxes(1, 2), got.shape)
  np.testing.assert_allclose(got, want, atol=1e-6)
