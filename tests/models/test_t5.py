"""The T5 encoder's parts against upstream's numbers and closed forms."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from framebridge_jax.models import t5

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden' / 't5_encoder_tiny.npz'
NETWORK = t5.T5Encoder(
  vocab=50, width=8, heads=3, head_width=4, mlp=12, depth=2
)


def _ids(seed=0, shape=(2, 9)):
  return jnp.asarray(np.random.default_rng(seed).integers(0, 50, shape))


@pytest.fixture(scope='module')
def variables():
  made = tiny.quick_jit(NETWORK.init)(jax.random.key(0), _ids())
  return tiny.shaken(made)


def _apply(variables, ids, mask=None, network=NETWORK):
  run = tiny.quick_jit(lambda v, x, m: network.apply(v, x, m))
  return run(variables, ids, mask)


def test_distances_fall_into_the_buckets_of_the_public_code():
  """Of transformers 5.23.0, for keys 225 tokens before to 225 behind."""
  want = np.load(GOLDEN)['bucket_of_relpos_m225_to_225']
  got = t5.buckets_of(np.arange(-225, 226), 32, 128)
  np.testing.assert_array_equal(got, want)


def test_far_distances_share_the_last_bucket_of_their_side():
  far = np.array([-100_000, -128, 128, 100_000])
  np.testing.assert_array_equal(t5.buckets_of(far, 32, 128), [15, 15, 31, 31])


def test_direction_is_told_by_the_half_of_the_bucket(variables):
  """With both halves alike, a text read backwards is answered backwards."""
  table = variables['params']['distances']
  alike = {**variables['params'], 'distances': jnp.tile(table[:16], (2, 1))}
  ids = _ids(shape=(2, 40))
  for params, same in ((alike, True), (variables['params'], False)):
    there, back = (
      np.asarray(_apply({'params': params}, x)) for x in (ids, ids[:, ::-1])
    )
    apart = np.abs(there - back[:, ::-1]).max()
    assert (apart < 1e-4) == same, apart


def test_tokens_outside_the_mask_have_no_say(variables):
  ids, other = _ids(), _ids(1)
  mask = jnp.arange(9)[None] < jnp.array([[5], [9]])
  mixed = jnp.where(mask, ids, other)
  got, want = (_apply(variables, x, mask) for x in (mixed, ids))
  np.testing.assert_array_equal(got[0, :5], want[0, :5])
  unmasked = _apply(variables, mixed) - _apply(variables, ids)
  assert np.abs(unmasked[0, :5]).max() > 1e-3, 'without a mask they have one'


def test_padding_takes_part_without_a_mask(variables):
  """As CogVideoX reads captions; a mask of ones changes nothing."""
  ids = _ids()
  whole = _apply(variables, ids, jnp.ones(ids.shape, bool))
  np.testing.assert_allclose(whole, _apply(variables, ids), atol=1e-5)


def test_outputs_have_unit_mean_square_before_the_last_scale(variables):
  """The final norm takes no mean off."""
  params = jax.tree.map(lambda x: x, variables['params'])
  params['norm']['scale'] = jnp.ones_like(params['norm']['scale'])
  x = np.asarray(_apply({'params': params}, _ids()))
  np.testing.assert_allclose((x**2).mean(-1), 1.0, rtol=1e-5)
  assert np.abs(x.mean(-1)).max() > 0.01


def test_weights_in_bfloat16_are_read_as_the_float32_they_stand_for(variables):
  half = jax.tree.map(lambda x: x.astype(jnp.bfloat16), variables)
  full = jax.tree.map(lambda x: x.astype(jnp.float32), half)
  got, want = (_apply(v, _ids()) for v in (half, full))
  assert got.dtype == jnp.float32
  np.testing.assert_allclose(got, want, atol=1e-6)


def test_products_in_bfloat16_stay_near_and_the_answer_is_float32(variables):
  network = NETWORK.copy(dtype=jnp.bfloat16)
  got = _apply(variables, _ids(), network=network)
  want = np.asarray(_apply(variables, _ids()))
  assert got.dtype == jnp.float32
  apart = np.abs(got - want).max()
  assert 1e-4 < apart < 0.1 * np.abs(want).max()


def test_float16_is_refused():
  network = NETWORK.copy(dtype=jnp.float16)
  with pytest.raises(ValueError, match='bfloat16 or float32'):
    jax.eval_shape(network.init, jax.random.key(0), _ids())


def test_block_by_block_is_the_same_and_compiles_one_block(
  variables, compilations
):
  """More blocks are no more programs."""
  ids = _ids()
  mask = jnp.arange(9)[None] < jnp.array([[5], [9]])
  want = _apply(variables, ids, mask)
  counts = []
  for depth in (2, 4):
    network = NETWORK.copy(depth=depth, mlp=12)
    params = dict(variables['params'])
    params |= {f'block_{i}': params[f'block_{i % 2}'] for i in range(depth)}
    compilations.clear()
    got = t5.by_block(network, {'params': params}, ids, mask)
    counts.append(len(compilations))
    if depth == 2:
      np.testing.assert_allclose(got, want, atol=1e-5)
  assert counts[0] > counts[1], 'the block was there already'


def test_one_block_alone_is_turned_to_float32(variables):
  """Its program wants no memory for another's weights."""
  network = t5.T5Encoder(
    vocab=50, width=64, heads=2, head_width=32, mlp=256, depth=8
  )
  ids = _ids(shape=(1, 4))
  shapes = jax.eval_shape(network.init, jax.random.key(0), ids)
  half = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, jnp.bfloat16), shapes
  )['params']
  block = sum(x.size for x in jax.tree.leaves(half['block_0']))
  x, bias = jax.eval_shape(lambda p: t5.look_up(network, p, ids), half)
  whole = jax.jit(network.apply).lower({'params': half}, ids)
  alone = t5._apply.lower(t5.make_block(network), half['block_0'], x, bias)
  whole, alone = (
    y.compile().memory_analysis().temp_size_in_bytes for y in (whole, alone)
  )
  assert alone < 2 * 4 * block
  assert whole > 7 * 4 * block, 'one program would do now: simplify'
