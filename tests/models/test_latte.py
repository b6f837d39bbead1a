"""Latte: what it says at first, who hears whom, and what lies where."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax import traverse_util

from framebridge_jax.models import embeddings, latte

B, F, SIZE, C = 2, tiny.FRAMES, tiny.SIZE, tiny.CHANNELS
PLAIN, FULL = tiny.make_latte(), tiny.make_latte(stem=4, anchor=True)


@functools.partial(tiny.quick_jit, static_argnums=0)
def _apply(network, variables, z, t, cond):
  return network.apply(variables, z, t, cond)


@functools.partial(tiny.quick_jit, static_argnums=0)
def _watch(network, variables, z, t, cond):
  """Output, and every submodule's output by its path."""
  out, seen = network.apply(
    variables, z, t, cond, capture_intermediates=True, mutable='intermediates'
  )
  return out, seen['intermediates']


def _heard(network, variables, inputs, changed):
  """Largest change of each frame's output [b, f]."""
  first, second = (_apply(network, variables, *x) for x in (inputs, changed))
  return np.abs(first - second).max((2, 3, 4))


def _with(variables, changes):
  """Variables with `{'module/.../leaf': array}` put in."""
  flat = traverse_util.flatten_dict(variables['params'], sep='/')
  assert changes.keys() <= flat.keys()
  for name, value in changes.items():
    flat[name] = jnp.broadcast_to(
      jnp.asarray(value, jnp.float32), flat[name].shape
    )
  return {'params': traverse_util.unflatten_dict(flat, sep='/')}


def _shut(kind):
  """Zero modulation: blocks of one kind (`spatial`, `temporal`) do nothing."""
  return {f'{kind}_0/modulation/{leaf}': 0.0 for leaf in ('kernel', 'bias')}


@pytest.fixture(scope='module')
def plain():
  return tiny.init(PLAIN)


@pytest.fixture(scope='module')
def full():
  return tiny.init(FULL)


@pytest.mark.parametrize('stem', [0, 4])
def test_the_output_is_zero_at_first_and_no_more_once_shaken(stem):
  network = tiny.make_latte(stem=stem, anchor=True)
  variables, inputs = tiny.init(network), tiny.make_inputs()
  out = _apply(network, variables, *inputs)
  np.testing.assert_array_equal(out, np.zeros_like(inputs[0]))
  assert (_apply(network, tiny.shaken(variables), *inputs) != 0).all()


def test_blocks_at_first_pass_on_what_they_get(full):
  """AdaLN-Zero: gates are 0, so a block is the identity."""
  _, seen = _watch(FULL, full, *tiny.make_inputs())
  x = seen['spatial_0']['__call__'][0]
  frames = embeddings.position_table(np.arange(4.0), 16)[None, None]
  want = np.asarray(x).swapaxes(1, 2) + frames
  np.testing.assert_allclose(seen['temporal_0']['__call__'][0], want, atol=1e-6)


def test_tokens_are_row_major_patches_of_row_column_and_channel():
  """Width 24 = 2 * 2 * (3 + 3) and an identity kernel: tokens are patches."""
  network = tiny.make_latte(patch=2, width=24)
  z, t, cond = tiny.make_inputs()
  variables = _with(
    tiny.init(network), {'patches/kernel': np.eye(24), 'patches/bias': 0}
  )
  _, seen = _watch(network, variables, z, t, cond)
  tokens = np.asarray(seen['spatial_0']['__call__'][0])
  tokens = tokens - embeddings.grid_table(np.arange(4.0), np.arange(4.0), 24)
  fine = np.concatenate([z, cond.prior], axis=-1)
  for r in range(4):
    for k in range(4):
      for p in range(2):
        for q in range(2):
          first = (2 * p + q) * 6
          np.testing.assert_allclose(
            tokens[:, :, 4 * r + k, first : first + 6],
            fine[:, :, 2 * r + p, 2 * k + q],
            atol=1e-6,
          )


def test_pixels_are_laid_out_as_patches_were_taken(plain):
  out, seen = _watch(PLAIN, tiny.shaken(plain), *tiny.make_inputs())
  patches = seen['final']['__call__'][0]
  for y in range(SIZE):
    for x in range(SIZE):
      token = 2 * (y // 4) + x // 4
      first = (4 * (y % 4) + x % 4) * C
      np.testing.assert_array_equal(
        out[:, :, y, x], patches[:, :, token, first : first + C]
      )


def test_places_are_added_once_before_space_and_frames_once_before_time():
  network = tiny.make_latte(depth=4)
  variables = _with(
    tiny.init(network), {'patches/kernel': 0.0, 'patches/bias': 0.0}
  )
  _, seen = _watch(network, variables, *tiny.make_inputs())
  place = embeddings.grid_table(np.arange(2.0), np.arange(2.0), 16)[None, None]
  frame = embeddings.position_table(np.arange(4.0), 16)[None, :, None]
  for block, want in {
    'spatial_0': place + 0 * frame,
    'temporal_0': (place + frame).swapaxes(1, 2),
    'spatial_1': place + frame,
    'temporal_1': (place + frame).swapaxes(1, 2),
  }.items():
    got = np.asarray(seen[block]['__call__'][0])
    np.testing.assert_allclose(
      got, np.broadcast_to(want, got.shape), atol=1e-6, err_msg=block
    )


def test_a_frame_s_time_modulates_the_tokens_of_that_frame_alone(plain):
  variables, (z, t, cond) = tiny.shaken(plain), tiny.make_inputs()
  _, first = _watch(PLAIN, variables, z, t, cond)
  _, second = _watch(PLAIN, variables, z, t.at[0, 2].add(40.0), cond)
  for block in ('spatial_0', 'temporal_0', 'final'):
    a, b = (_modulation(seen, block) for seen in (first, second))
    changed = np.abs(a - b).max(2) > 1e-3
    np.testing.assert_array_equal(np.argwhere(changed), [[0, 2]])
    assert (a == b)[~changed].all()


def _modulation(seen, block):
  """What a block's frames are modulated by; once a frame, not a token."""
  return np.reshape(seen[block]['modulation']['__call__'][0], (B, F, -1))


def test_equal_times_modulate_all_frames_alike_and_permuted_times_permute(
  plain,
):
  variables, (z, t, cond) = tiny.shaken(plain), tiny.make_inputs()
  order = np.array([3, 1, 0, 2])

  def modulation(t):
    _, seen = _watch(PLAIN, variables, z, t, cond)
    return _modulation(seen, 'spatial_0')

  same = modulation(jnp.full_like(t, 500.0))
  np.testing.assert_array_equal(same, same[:, :1].repeat(F, axis=1))
  np.testing.assert_array_equal(
    modulation(t)[:, order], modulation(t[:, order])
  )


def test_with_time_shut_frames_do_not_hear_each_other(plain):
  variables = _with(tiny.shaken(plain), _shut('temporal'))
  z, t, cond = inputs = tiny.make_inputs()
  for changed in ((z.at[1, 2].add(1.0), t, cond), (z, t.at[1, 2].add(9), cond)):
    heard = _heard(PLAIN, variables, inputs, changed)
    np.testing.assert_array_equal(np.argwhere(heard > 0), [[1, 2]])
    assert heard[1, 2] > 1e-3


def test_open_temporal_blocks_carry_a_frame_to_all_frames_of_its_clip(plain):
  variables, inputs = tiny.shaken(plain), tiny.make_inputs()
  z, t, cond = inputs
  heard = _heard(PLAIN, variables, inputs, (z.at[1, 2].add(1.0), t, cond))
  assert (heard[0] == 0).all()
  assert (heard[1] > 1e-4).all()


def test_temporal_blocks_look_along_one_place(plain):
  """With space shut, a patch is heard in its own place in every frame."""
  variables = _with(tiny.shaken(plain), _shut('spatial'))
  z, t, cond = tiny.make_inputs()
  moved = z.at[0, 1, 4:, :4].add(1.0)
  a, b = (_apply(PLAIN, variables, x, t, cond) for x in (z, moved))
  changed = np.abs(a - b) > 0
  assert changed[0, :, 4:, :4].all()
  changed[0, :, 4:, :4] = False
  assert not changed.any()


def test_without_anchor_the_anchor_frame_has_no_say(plain):
  variables, (z, t, cond) = tiny.shaken(plain), tiny.make_inputs()
  other = cond._replace(anchor=jnp.full((B, F), 3))
  np.testing.assert_array_equal(
    _apply(PLAIN, variables, z, t, cond), _apply(PLAIN, variables, z, t, other)
  )


def test_with_anchor_a_frame_hears_itself_and_its_anchor():
  network = tiny.make_latte(anchor=True)
  variables = _with(tiny.shaken(tiny.init(network)), _shut('temporal'))
  z, t, cond = tiny.make_inputs()
  anchor = np.array([[0, 0, 3, 3], [1, 1, 1, 2]])
  cond = cond._replace(anchor=jnp.asarray(anchor, jnp.int32))
  for frame in range(F):
    changed = z.at[:, frame].add(1.0), t, cond
    heard = _heard(network, variables, (z, t, cond), changed)
    want = (anchor == frame) | (np.arange(F) == frame)
    np.testing.assert_array_equal(heard > 0, want)
    assert (heard[want] > 1e-4).all()


def test_the_null_class_has_the_last_row_of_the_table_to_itself(plain):
  variables, (z, t, cond) = tiny.shaken(plain), tiny.make_inputs()
  table = variables['params']['labels']['embedding']
  assert table.shape == (tiny.CLASSES + 1, 16)
  cond = cond._replace(label=jnp.array([2, tiny.CLASSES]))
  other = _with(variables, {'labels/embedding': table.at[-1].add(1.0)})
  a, b = (_apply(PLAIN, v, z, t, cond) for v in (variables, other))
  np.testing.assert_array_equal(a[0], b[0])
  assert np.abs(a[1] - b[1]).max() > 1e-3


@pytest.mark.parametrize('name', ['plain', 'full'])
def test_prior_and_label_are_heard(name, request):
  network = {'plain': PLAIN, 'full': FULL}[name]
  variables = tiny.shaken(request.getfixturevalue(name))
  z, t, cond = inputs = tiny.make_inputs()
  for other in (
    cond._replace(prior=cond.prior.at[1].add(1.0)),
    cond._replace(label=cond.label.at[1].set((cond.label[1] + 1) % 5)),
  ):
    heard = _heard(network, variables, inputs, (z, t, other))
    assert (heard[0] == 0).all()
    assert (heard[1] > 1e-3).all()


def test_bfloat16_keeps_float32_parameters_and_answers_near_float32(full):
  """8 bits a product: a few percent; a lost layer or cast is beyond 20."""
  network = tiny.make_latte(stem=4, anchor=True, dtype=jnp.bfloat16)
  leaves = jax.tree.leaves(tiny.init(network))
  assert {x.dtype for x in leaves} == {jnp.dtype('float32')}
  variables, inputs = tiny.shaken(full), tiny.make_inputs()
  want = np.asarray(_apply(FULL, variables, *inputs))
  got = _apply(network, variables, *inputs)
  assert got.dtype == jnp.float32
  error = np.linalg.norm(got - want) / np.linalg.norm(want)
  assert 1e-5 < error < 0.1


def test_a_block_is_dit_s_formula(plain):
  """DiT block with adaLN-Zero: shift, scale, gate for attention, then MLP."""
  params = tiny.shaken(plain)['params']['spatial_0']
  rng = np.random.default_rng(1)
  x, c = rng.normal(size=(1, 1, 5, 16)), rng.normal(size=(1, 1, 1, 16))
  block = latte.Block(2, 'default', jnp.float32)
  got = tiny.quick_jit(block.apply)(
    {'params': params}, jnp.asarray(x, jnp.float32), jnp.asarray(c, jnp.float32)
  )[0, 0]
  modulation = tiny.affine(params['modulation'], c[0, 0, 0])
  shift1, scale1, gate1, shift2, scale2, gate2 = modulation.reshape(6, 16)
  y = x[0, 0]
  z = _normed(y) * (1 + scale1) + shift1
  y = y + gate1 * tiny.attend(params['attention'], z, heads=2)
  z = tiny.affine(params['mlp_in'], _normed(y) * (1 + scale2) + shift2)
  z = 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))
  np.testing.assert_allclose(
    got, y + gate2 * tiny.affine(params['mlp_out'], z), rtol=1e-4, atol=1e-4
  )


def test_networks_of_equal_numbers_are_equal():
  """What makes a network a static argument that compiles once."""
  again = tiny.make_latte(stem=4, anchor=True)
  assert again == FULL
  assert hash(again) == hash(FULL)
  assert again != PLAIN


def _normed(x):
  centred = x - x.mean(-1, keepdims=True)
  return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
