"""Spoilt clips: how much, and only what is said."""

import numpy as np
import pytest
from scipy import ndimage

from framebridge_jax.evaluation import corruptions


def _video():
  rng = np.random.default_rng(0)
  return rng.integers(60, 190, (16, 24, 24, 3), np.uint8)


def _rng():
  return np.random.default_rng(3)


def test_noise_has_the_strength_it_says():
  video = _video()
  found = corruptions.add_noise(video, _rng(), std=8).astype(float) - video
  assert found.std() == pytest.approx(8, rel=0.02)
  assert abs(found.mean()) < 0.1


def test_blur_is_the_mean_of_a_square():
  video = _video()
  found = corruptions.blur(video, _rng(), width=5)
  want = ndimage.uniform_filter(video[3].astype(float), (5, 5, 1))
  inside = (slice(2, -2), slice(2, -2))
  np.testing.assert_allclose(found[3][inside], want[inside], atol=1)


@pytest.mark.parametrize(
  ('share', 'moving'), [(0.125, 14), (0.375, 10), (0.625, 6), (1.0, 1)]
)
def test_frozen_clips_stand_from_a_frame_on(share, moving):
  video = _video()
  found = corruptions.freeze(video, _rng(), share=share)
  np.testing.assert_array_equal(found[:moving], video[:moving])
  assert (found[moving:] == video[moving - 1]).all()
  assert found.shape == video.shape


@pytest.mark.parametrize(('share', 'kept'), [(0.25, 12), (0.5, 8), (1.0, 0)])
def test_shuffled_clips_have_the_same_frames(share, kept):
  video = _video()
  found = corruptions.shuffle(video, _rng(), share=share)
  np.testing.assert_array_equal(found[:kept], video[:kept])
  assert (found[kept:] != video[kept:]).any()
  order = [int(np.flatnonzero((video == x).all((1, 2, 3)))[0]) for x in found]
  assert sorted(order) == list(range(16))


def test_within_a_kind_the_damage_grows():
  video = _video()
  kinds = {}
  for rung in corruptions.LADDER:
    error = np.mean((rung.spoil(video, _rng()).astype(float) - video) ** 2)
    kinds.setdefault(rung.kind, []).append(error)
  assert kinds.keys() == {'noise', 'blur', 'frozen', 'shuffled'}
  for errors in kinds.values():
    assert sorted(errors) == errors
    assert len(set(errors)) == len(errors) > 2
