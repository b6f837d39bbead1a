"""Preprocessing for CLIP's image towers against kornia and open_clip."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import PIL
import ports
import pytest

from framebridge_jax.data import clips
from framebridge_jax.models import clip_pixels


@functools.cache
def _golden(name):
  return dict(np.load(ports.GOLDEN / f'{name}.npz'))


def _here(x):
  return jnp.moveaxis(jnp.asarray(x), 1, -1)


@functools.cache
def _frames():
  return _here(_golden('clip_image_preprocess_tiny')['image'])


def test_frames_shrink_as_in_kornia():
  want = _here(_golden('clip_image_preprocess_tiny')['resized_28'])
  got = clip_pixels.resize(_frames(), 28)
  assert ports.apart(got, want) <= 1e-5


def test_frames_grow_as_in_kornia():
  """Nothing is blurred then."""
  want = _here(_golden('clip_image_preprocess_tiny')['upsized_224_corner'])
  got = clip_pixels.resize(_frames(), 224)
  assert got.shape == (1, 224, 224, 3)
  assert ports.apart(got[:, :8, :8], want) <= 1e-5


def test_frames_are_normalised_as_video_crafter_does():
  want = _here(_golden('clip_image_preprocess_tiny')['normalized_28'])
  got = jax.jit(clip_pixels.from_frames, static_argnums=1)(_frames(), 28)
  assert ports.apart(got, want) <= 1e-5


def test_frames_of_the_right_size_are_left_alone():
  x = _frames()[:, :28, :28]
  np.testing.assert_array_equal(clip_pixels.resize(x, 28), x)


@pytest.mark.parametrize('line', ['row', 'column'])
@pytest.mark.parametrize('other', [20, 28, 80])
def test_a_side_is_resized_as_if_it_were_alone(line, other):
  """Frames of equal lines: how many there are changes nothing.

  With 20 the other side grows, and only this one is blurred.
  """
  x = _frames()[:, :1, :64]
  alone, wide = (jnp.repeat(x, n, axis=1) for n in (64, other))
  if line == 'column':
    alone, wide = (jnp.swapaxes(y, 1, 2) for y in (alone, wide))
  got = clip_pixels.resize(wide, 28)
  np.testing.assert_allclose(got, clip_pixels.resize(alone, 28), atol=1e-6)


@pytest.mark.parametrize('line', ['row', 'column'])
def test_a_side_that_grows_is_not_blurred(line):
  """Also where the other side shrinks."""
  x = _frames()[:, :1, :7]
  alone, wide = (jnp.repeat(x, n, axis=1) for n in (7, 80))
  if line == 'column':
    alone, wide = (jnp.swapaxes(y, 1, 2) for y in (alone, wide))
  got = clip_pixels.resize(wide, 28)
  np.testing.assert_allclose(got, clip_pixels.resize(alone, 28), atol=1e-6)


# Before release 13 Pillow resized 17 pixels otherwise; the others alike.
OTHERWISE = ('36x17',) if int(PIL.__version__.split('.')[0]) < 13 else ()
PICTURES = sorted(
  name.removeprefix('image_')
  for name in _golden('clip_pictures')
  if name.startswith('image_') and not name.endswith(OTHERWISE)
)


def _seen(picture):
  side = clips.shrink_crop(picture, 16)
  return clip_pixels.from_bytes(jnp.asarray(side)[None])


@pytest.mark.parametrize('name', PICTURES)
def test_pictures_are_seen_as_open_clip_shows_them(name):
  """Pillow's bytes are the same ones, so float32's rounding is all."""
  g = _golden('clip_pictures')
  want = _here(g[f'open_clip_{name}'][None])
  assert np.abs(_seen(g[f'image_{name}']) - want).max() <= 1e-6


@pytest.mark.parametrize('name', PICTURES)
def test_transformers_cuts_some_odd_margins_a_pixel_away(name):
  """Of 3 pixels it cuts 1 before; OpenAI's code rounds 1.5 to 2."""
  g = _golden('clip_pictures')
  want = _here(g[f'transformers_{name}'][None])
  error = np.abs(_seen(g[f'image_{name}']) - want).max()
  assert error > 1 if name in MARGINS_OF_3 else error <= 1e-6


# Their shorter side is 16 by then, their longer one 19 and 31.
MARGINS_OF_3 = ('16x19', '37x19')
