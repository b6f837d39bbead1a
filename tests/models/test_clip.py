"""Laws of CLIP's towers; their numbers are compared in tests/porting."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from framebridge_jax.models import clip

TEXT = clip.TextTower(
  vocab=20,
  length=8,
  width=16,
  heads=2,
  depth=2,
  mlp=32,
  activation='gelu',
  project=6,
)
IMAGE = clip.ImageTower(
  size=12,
  patch=4,
  width=16,
  heads=2,
  depth=2,
  mlp=32,
  activation='quick_gelu',
  project=6,
)
IDS = jnp.asarray([[18, 3, 5, 19, 0, 0], [18, 7, 1, 2, 9, 19]], jnp.int32)


@functools.partial(tiny.quick_jit, static_argnums=0)
def _apply(network, variables, x):
  return network.apply(variables, x)


@functools.cache
def _made(network):
  """A tower whose every parameter counts, and what it reads."""
  x = IDS
  if network is IMAGE:
    rng = np.random.default_rng(1)
    x = jnp.asarray(rng.normal(size=(2, 12, 12, 3)), jnp.float32)
  variables = tiny.quick_jit(network.init)(jax.random.key(0), x)
  return tiny.shaken(variables), x


def test_a_token_hears_nothing_of_those_behind_it():
  variables, ids = _made(TEXT)
  said = _apply(TEXT, variables, ids)
  other = _apply(TEXT, variables, ids.at[:, 3:].set(11))
  assert (said.last[:, :3] == other.last[:, :3]).all()
  assert (said.last[:, 3:] != other.last[:, 3:]).any(axis=-1).all()


def test_a_tower_cut_by_its_last_block_says_the_penultimate_last():
  """Stable Diffusion 2 in diffusers' form is cut like that."""
  variables, ids = _made(TEXT)
  kept = {k: x for k, x in variables['params'].items() if k != 'block_1'}
  cut = dataclasses.replace(TEXT, depth=1)
  got = _apply(cut, {'params': kept}, ids).last
  want = _apply(TEXT, variables, ids).penultimate
  np.testing.assert_allclose(got, want, atol=1e-6)


def test_a_text_is_pooled_at_the_first_of_its_largest_ids():
  variables, ids = _made(TEXT)
  said = _apply(TEXT, variables, ids.at[0, 4:].set(19))
  np.testing.assert_array_equal(said.pooled[0], said.last[0, 3])
  np.testing.assert_array_equal(said.pooled[1], said.last[1, 5])


def test_a_text_longer_than_the_tower_is_refused():
  variables, _ = _made(TEXT)
  with pytest.raises(ValueError, match='9 tokens, the tower reads 8'):
    TEXT.apply(variables, jnp.zeros((1, 9), jnp.int32))


def test_an_image_of_another_size_is_refused():
  variables, _ = _made(IMAGE)
  with pytest.raises(ValueError, match='12 x 16, the tower reads 12 x 12'):
    IMAGE.apply(variables, jnp.zeros((1, 12, 16, 3)))


def test_the_class_token_comes_first_and_patches_in_reading_order():
  """Without blocks to mix them, a patch's change is its own token's."""
  flat = dataclasses.replace(IMAGE, depth=0)
  variables, images = _made(IMAGE)
  params = {
    k: x for k, x in variables['params'].items() if not k.startswith('block')
  }
  before = _apply(flat, {'params': params}, images)
  changed = images.at[:, 4:8, 8:12].add(1.0)  # row 1, column 2 of 3 x 3
  after = _apply(flat, {'params': params}, changed)
  moved = (before.tokens != after.tokens).any(axis=(0, 2))
  assert np.flatnonzero(moved).tolist() == [1 + 5]


@pytest.mark.parametrize('network', [TEXT, IMAGE], ids=['text', 'image'])
def test_parameters_in_bfloat16_say_the_same_within_their_digits(network):
  """Bfloat16 has 3 digits; what a tower says stays float32."""
  variables, x = _made(network)
  want = _apply(network, variables, x)
  stored = jax.tree.map(lambda y: y.astype(jnp.bfloat16), variables)
  for dtype in (jnp.float32, jnp.bfloat16):
    got = _apply(dataclasses.replace(network, dtype=dtype), stored, x)
    for y, z in zip(got, want, strict=True):
      assert y.dtype == jnp.float32
      assert 1e-5 < jnp.abs(y - z).max() < 0.1
