"""Scores against several true futures, where they can be worked out."""

import numpy as np
import pytest

from framebridge_jax.evaluation import conditional, futures, pixels


def _points(*rows):
  """One scene whose features are numbers on a line."""
  return [np.array(row, float)[None, :, None] for row in rows]


def test_distances_on_a_line():
  """Truths 0 and 10, samples 1 and 4."""
  found = futures.compare(*_points([0, 10], [1, 4]))
  assert found.recall == pytest.approx([(1 + 6) / 2])
  assert found.precision == pytest.approx([(1 + 4) / 2])
  # 2 E|x - y| - E|x - x'| - E|y - y'| = 2 (1 + 4 + 9 + 6) / 4 - 10 - 3
  assert found.energy == pytest.approx([10 - 13])
  assert found.diversity == pytest.approx([3 / 10])


def test_one_answer_for_all_futures_fails_recall_alone():
  """Samples that all are one true future: precise, and far from the others."""
  truth, ours = _points([0, 4, 8, 12], [4, 4, 4, 4])
  found = futures.compare(truth, ours)
  assert found.precision == pytest.approx([0])
  assert found.recall == pytest.approx([(4 + 0 + 4 + 8) / 4])
  assert found.diversity == pytest.approx([0])


def test_the_energy_of_two_draws_of_one_distribution_is_0_on_average():
  rng = np.random.default_rng(0)
  truth, ours = rng.normal(size=(2, 4000, 4, 3))
  found = futures.compare(truth, ours)
  slack = 4 * found.energy.std() / np.sqrt(4000)
  assert abs(found.energy.mean()) < slack
  assert (found.energy < 0).mean() > 0.3
  far = futures.compare(truth, ours + 2)
  assert far.energy.mean() > 20 * slack


def test_scenes_are_scored_alone():
  rng = np.random.default_rng(0)
  truth, ours = rng.normal(size=(2, 5, 4, 3))
  whole = futures.compare(truth, ours)
  for i in range(5):
    one = futures.compare(truth[i : i + 1], ours[i : i + 1])
    for x, y in zip(whole, one, strict=True):
      assert x[i] == pytest.approx(y[0])


def _clips(shape, seed=0):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (*shape, 3, 12, 12, 3), np.uint8)


def test_the_best_sample_counts_for_each_true_future():
  truth, ours = _clips((1, 2)), _clips((1, 3), seed=1)
  ours[0, 2] = truth[0, 1]
  most = pixels.psnr(truth[0, 1], truth[0, 1])
  other = max(pixels.psnr(truth[0, 0], x) for x in ours[0])
  assert futures.best_of(truth, ours) == pytest.approx([(most + other) / 2])


def test_only_what_no_true_future_changes_must_be_kept():
  truth = np.full((1, 4, 3, 6, 6, 3), 100, np.uint8)
  truth[0, 1, 2, 0, 0] = 200  # one future moves one corner
  ours = truth[:, :2].copy()
  ours[0, 0, :, 0, 0] = 0
  all_kept = futures.keeping(truth, ours)
  ours[0, 0, :, 3, 3] = 110
  one_lost = futures.keeping(truth, ours)
  assert all_kept[0] > one_lost[0] > 0
  mse = 100 / 35  # one of the 35 other pixels is off by 10
  lost = 10 * np.log10(255**2 / mse)
  assert one_lost == pytest.approx([(lost + all_kept[0]) / 2], rel=1e-6)


def test_a_scene_that_moves_everywhere_has_no_background():
  truth = _clips((1, 4))
  assert np.isnan(futures.keeping(truth, truth)).all()


@pytest.mark.parametrize(
  ('futures_', 'samples', 'words'),
  [(5, 9, '5 true futures'), (2, 9, '2 true'), (8, 3, '3 samples .* of 4')],
)
def test_too_few_are_refused(futures_, samples, words):
  with pytest.raises(ValueError, match=words):
    futures.judge(futures_, samples)
  assert futures.judge(8, 4) == 4


def _several(clips):
  """Features are block means of the pixels."""
  s, k = clips.shape[:2]
  blocks = clips.reshape(s, k, 3, 3, 4, 3, 4, 3).mean(axis=(4, 6))
  return conditional.Several(blocks.reshape(s, k, -1), clips)


def _scenes(scenes=16, each=8, seed=0):
  """A bright square that jumps anywhere, on a ground of its own colour."""
  rng = np.random.default_rng(seed)
  ground = rng.integers(10, 120, (scenes, 1, 1, 1, 1, 3), np.uint8)
  clips = np.tile(ground, (1, each, 3, 12, 12, 1))
  for s in range(scenes):
    clips[s, :, 0, 5:7, 5:7] = 250
    for k in range(each):
      y, x = rng.integers(0, 10, (2, 2))
      for t in (1, 2):
        clips[s, k, t, y[t - 1] : y[t - 1] + 2, x[t - 1] : x[t - 1] + 2] = 250
  return clips


@pytest.fixture(scope='module')
def known_cases():
  """Scores of the truth, and of three ways to be wrong."""
  futures_ = _scenes(each=24)
  truth, fresh = futures_[:, :16], futures_[:, 16:]
  mean = truth.mean(axis=1, keepdims=True).astype(np.uint8).repeat(8, 1)
  copy = truth[:, :8, :1].repeat(3, 2)
  cases = {
    'truth': fresh,
    'mean': mean,
    'copy': copy,
    'other scenes': np.roll(fresh, 1, axis=0),
  }
  whole = _several(truth)
  return {
    name: conditional.scores(
      whole, _several(clips), _several(copy), draws=20, seed=0
    )
    for name, clips in cases.items()
  }


@pytest.mark.parametrize(
  ('wrong', 'score'),
  [
    ('mean', 'energy'),  # in such plain features the mean is near to everything
    ('copy', 'energy'),
    ('copy', 'recall'),
    ('other scenes', 'energy'),
    ('other scenes', 'recall'),
  ],
)
def test_true_futures_score_below_what_is_wrong(known_cases, wrong, score):
  truth, other = (known_cases[name][score] for name in ('truth', wrong))
  assert truth['value'] < other['value']
  assert truth['high'] < other['low']


def test_true_futures_score_as_the_floor(known_cases):
  for name in ('recall', 'precision', 'best_psnr', 'best_ssim'):
    score = known_cases['truth'][name]
    assert score['value'] == pytest.approx(score['floor'], rel=0.1), name


def test_copies_and_means_lack_diversity(known_cases):
  assert known_cases['copy']['diversity']['value'] == 0
  assert known_cases['mean']['diversity']['value'] == 0
  assert known_cases['truth']['diversity']['value'] == pytest.approx(1, abs=0.1)


def test_the_copy_beside_a_score_is_the_score_of_the_copy(known_cases):
  for name, score in known_cases['truth'].items():
    assert score['copy'] == pytest.approx(known_cases['copy'][name]['value'])


def test_floor_interval_and_scenes_stand_beside_a_score(known_cases):
  recall = known_cases['copy']['recall']
  assert recall['floor'] < recall['value']
  assert recall['low'] < recall['value'] < recall['high']
  assert np.mean(recall['scenes']) == pytest.approx(recall['value'])
  assert (recall['samples'], recall['real']) == (128, 256)


def test_the_floor_is_what_one_half_scores_against_the_other():
  truth = _several(_scenes(each=8))
  made = conditional.scores(truth, truth, draws=0, seed=0)
  one, other = truth.features[:, :4], truth.features[:, 4:]
  want = [
    futures.compare(a, b).recall.mean() for a, b in ((one, other), (other, one))
  ]
  assert made['recall']['floor'] == pytest.approx(np.mean(want))
  assert 'copy' not in made['recall']
