"""Scores of motion, computed by hand."""

import numpy as np
import pytest

from framebridge_jax.evaluation import motion


def _flat(levels):
  """Clips [n, f, 2, 2, 3] of flat frames with these levels."""
  levels = np.asarray(levels, np.uint8)
  return np.broadcast_to(
    levels[..., None, None, None], (*levels.shape, 2, 2, 3)
  )


def test_psnr_is_ten_log_of_the_peak_s_energy_over_the_error_s():
  """Errors of 5 everywhere; 255 everywhere; 10 in one frame of four."""
  truth = _flat([[100] * 4, [0] * 4, [50] * 4])
  ours = _flat([[105] * 4, [255] * 4, [50, 50, 40, 50]])
  got = motion.psnr(truth, ours)
  want = [
    20 * np.log10(255 / 5),
    0.0,
    20 * np.log10(255 / 10) + 10 * np.log10(4),
  ]
  np.testing.assert_allclose(got, want, atol=1e-9)
  assert got[0] == pytest.approx(34.1514, abs=1e-4)


def test_psnr_does_not_wrap_around_a_byte():
  truth, ours = _flat([[0, 0]]), _flat([[255, 255]])
  assert motion.psnr(truth, ours) == pytest.approx([0.0])
  assert motion.psnr(ours, truth) == pytest.approx([0.0])


def test_equal_clips_score_as_if_one_byte_were_off_by_one():
  truth = _flat([[7, 8]])
  off = truth.copy()
  off[0, 0, 0, 0, 0] += 1
  assert motion.psnr(truth, truth) == pytest.approx(motion.psnr(truth, off))
  assert np.isfinite(motion.psnr(truth, truth)).all()


def test_change_ratio_is_the_ratio_of_mean_squared_steps():
  """Truth steps by 10 and 20 (mean square 250), futures by 10 or by 0."""
  truth = _flat([[0, 10, 30]])
  futures = _flat([[[0, 10, 20], [0, 0, 0]]])
  scores = motion.score_motion(truth, futures)
  assert scores.change_ratio == pytest.approx((100 + 100 + 0 + 0) / 4 / 250)


def test_change_down_counts_like_change_up():
  truth = _flat([[0, 200]])
  scores = motion.score_motion(truth, _flat([[[200, 0]]]))
  assert scores.change_ratio == pytest.approx(1.0)


def test_the_truth_has_change_ratio_one_and_frozen_clips_zero():
  truth = _flat([[10, 60, 20], [0, 1, 2]])
  assert motion.score_motion(truth, truth[:, None]).change_ratio == 1
  frozen = _flat([[[10] * 3], [[0] * 3]])
  scores = motion.score_motion(truth, frozen)
  assert scores.change_ratio == 0
  assert scores.best_psnr == scores.copy_psnr


def test_each_clip_s_best_future_counts():
  """Clip 0 is best hit by future 1, clip 1 by future 0."""
  truth = _flat([[100, 90], [100, 110]])
  futures = _flat([[[90, 80], [105, 95]], [[101, 111], [200, 210]]])
  scores = motion.score_motion(truth, futures)
  want = (20 * np.log10(255 / 5) + 20 * np.log10(255 / 1)) / 2
  assert scores.best_psnr == pytest.approx(want)


def test_copying_is_scored_against_the_first_frame():
  """The copy is off by 0, 30 and 40: mean square 2500 / 3."""
  truth = _flat([[100, 130, 60]])
  scores = motion.score_motion(truth, _flat([[[0, 0, 0]]]))
  want = 10 * np.log10(255**2 / (2500 / 3))
  assert scores.copy_psnr == pytest.approx(want)


def test_likeness_is_that_of_the_best_future_and_the_worst_first_frame():
  rng = np.random.default_rng(0)
  truth = rng.integers(0, 256, (2, 4, 16, 16, 3), np.uint8)
  futures = rng.integers(0, 256, (2, 3, 4, 16, 16, 3), np.uint8)
  futures[:, :, 0] = truth[:, None, 0]
  futures[0, 2], futures[1, 0] = truth
  found = motion.score_likeness(truth, futures)
  assert found.best_ssim == pytest.approx(1)
  # One frame of four is itself, the others are unlike noise.
  assert found.copy_ssim == pytest.approx(0.25, abs=0.05)
  assert found.first_frame_error == 0
  futures[1, 1, 0, 3, 3, 0] = truth[1, 0, 3, 3, 0] ^ 128
  assert motion.score_likeness(truth, futures).first_frame_error == 128
