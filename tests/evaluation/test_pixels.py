"""Scores of pixels: closed forms, scikit-image, and known extremes."""

import numpy as np
import pytest
from PIL import Image

from framebridge_jax.evaluation import measures, pixels


def _flat(levels, side=12):
  """Frames of one grey level each."""
  frames = np.array(levels, np.uint8)[:, None, None, None]
  return np.broadcast_to(frames, (len(levels), side, side, 3)).copy()


def _random(frames=4, side=16, seed=0):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (frames, side, side, 3), np.uint8)


def _look(video):
  return dict(zip(pixels.ALONE, pixels.look(video), strict=True))


def test_psnr_of_a_known_error():
  """All bytes off by 5: 20 log10(255 / 5)."""
  video = _flat([100, 100, 100])
  found = pixels.psnr(video, video + 5)
  assert found == pytest.approx(20 * np.log10(51), rel=1e-12)


def test_equal_clips_score_as_if_one_byte_were_off():
  video = _random()
  off = video.copy()
  off[0, 0, 0, 0] ^= 1
  assert pixels.psnr(video, video) == pytest.approx(pixels.psnr(video, off))


def test_ssim_of_a_clip_and_itself_is_1_and_of_noise_near_0():
  video = _random(side=32)
  assert pixels.ssim(video, video) == pytest.approx(1, rel=1e-12)
  assert abs(pixels.ssim(video, _random(side=32, seed=1))) < 0.05


def test_ssim_of_flat_frames_has_a_closed_form():
  """(2 a b + C1) / (a^2 + b^2 + C1) for levels a and b without contrast."""
  a, b, c1 = 60.0, 100.0, (0.01 * 255) ** 2
  found = pixels.ssim(_flat([60] * 3), _flat([100] * 3))
  assert found == pytest.approx((2 * a * b + c1) / (a * a + b * b + c1))


@pytest.mark.slow
def test_ssim_is_that_of_scikit_image():
  """0.25, with the settings of Wang et al. 2004."""
  metrics = pytest.importorskip('skimage.metrics')
  rng = np.random.default_rng(0)
  a = np.asarray(Image.effect_noise((48, 40), 60).convert('RGB'))
  b = np.clip(a + rng.normal(0, 25, a.shape), 0, 255).astype(np.uint8)
  _, whole = metrics.structural_similarity(
    a,
    b,
    channel_axis=-1,
    data_range=255,
    gaussian_weights=True,
    sigma=1.5,
    use_sample_covariance=False,
    full=True,
  )
  # Where the window stays inside the frame.
  want = whole[5:-5, 5:-5].mean()
  assert pixels.ssim(a[None], b[None]) == pytest.approx(want, rel=1e-6)


def test_a_still_clip_has_no_motion_no_flicker_and_no_drift():
  still = np.repeat(_random(1), 5, axis=0)
  assert list(_look(still).values()) == [0.0] * len(pixels.ALONE)


def test_steady_change_is_motion_and_no_flicker():
  """Each frame 3 levels brighter than the last."""
  found = _look(_flat([10, 13, 16, 19, 22, 25, 28, 31]))
  assert found['motion'] == pytest.approx(3)
  assert found['flicker'] == 0
  assert found['level_drift'] == pytest.approx(21)
  assert found['dynamic'] == 1  # 21 levels are more than 16


def test_a_flickering_clip_flickers_twice_as_much_as_it_moves():
  found = _look(_flat([50, 56, 50, 56, 50]))
  assert found['motion'] == pytest.approx(6)
  assert found['flicker'] == pytest.approx(12)
  assert found['level_drift'] == 0


def test_dynamic_wants_a_share_of_the_pixels():
  video = np.repeat(_flat([100], side=20), 4, axis=0)
  video[2, 0, :8] = 130  # 8 of 400: just 2 %
  assert _look(video)['dynamic'] == 0
  video[2, 1, 0] = 130
  assert _look(video)['dynamic'] == 1
  weak = np.repeat(_flat([100]), 4, axis=0)
  weak[2] += 16
  assert _look(weak)['dynamic'] == 0


def test_drifts_count_doublings():
  """Checks of 8 levels become checks of 32: contrast and edges."""
  checks = np.indices((16, 16)).sum(0)[None, ..., None] % 2 * 2 - 1
  video = np.concatenate([128 + checks * k for k in (7, 15, 31)])
  video = np.repeat(video, 3, axis=-1).astype(np.uint8)
  found = _look(video)
  assert found['contrast_drift'] == pytest.approx(2)  # (31 + 1) / (7 + 1)
  assert found['sharpness_drift'] == pytest.approx(np.log2(63 / 15))
  assert _look(video[::-1])['contrast_drift'] == pytest.approx(-2)


def test_the_given_image_is_held_against_the_first_frame_alone():
  video = _random()
  most = pixels.psnr(video[:1], video[:1])
  assert pixels.keep(video, video[0]) == [most, 0.0]
  changed = video.copy()
  changed[1:] = 0
  assert pixels.keep(changed, video[0]) == [most, 0.0]
  worst = video[0].copy()
  worst[3, 3, 0] = video[0, 3, 3, 0] ^ 128
  assert pixels.keep(video, worst)[1] == 128


@pytest.mark.parametrize(
  'make', [pixels.alone, pixels.against_image, pixels.against_truth]
)
def test_measures_have_a_column_for_every_number(make):
  clips = [
    measures.Clip(name=str(i), video=v, image=v[0], truth=v)
    for i, v in enumerate([_random(), _random(seed=1)])
  ]
  one = make()
  found = one.run(clips)
  assert found.shape == (2, len(one.columns))
  assert sorted(x.start for x in one.columns.values()) == [
    *range(len(one.columns))
  ]


def test_measures_have_digests_of_their_own():
  made = [pixels.alone(), pixels.against_image(), pixels.against_truth()]
  assert len({one.digest for one in made}) == 3
