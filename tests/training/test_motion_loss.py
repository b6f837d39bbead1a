"""The loss of a motion reader."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

import toy_losses
from framebridge_jax.models import motion_reader
from framebridge_jax.training import losses


class Undecided(nn.Module):
  """A reader that finds all classes equally likely."""

  @nn.compact
  def __call__(self, clips):
    return motion_reader.Read(jnp.zeros((len(clips), 10)), jnp.zeros((1, 1)))


class Watching(nn.Module):
  """Answers with what it was shown: the mean of each channel, as logits."""

  @nn.compact
  def __call__(self, clips):
    means = clips.mean((1, 2, 3))
    return motion_reader.Read(100 * means, means)


def _loss(network, brightness):
  return losses.MotionLoss(
    network=network, encode=toy_losses.encode, brightness=brightness
  )


def test_an_undecided_reader_loses_the_log_of_the_number_of_classes():
  loss = tiny.quick_jit(_loss(Undecided(), 0.3))
  value, _ = loss({}, toy_losses.make_batch(), toy_losses.keys())
  assert value == pytest.approx(np.log(10), rel=1e-6)


def test_colours_change_places_evenly():
  """One bright channel of three: each place gets it a third of the time."""
  n = 3000
  video = np.zeros((n, 3, 2, 2, 3), np.uint8)
  video[..., 0] = 255
  batch = {'video': jnp.asarray(video), 'label': jnp.zeros(n, jnp.int32)}
  loss = tiny.quick_jit(_loss(Watching(), 0.0))
  _, scalars = loss({}, batch, toy_losses.keys(n))
  slack = 5 * np.sqrt(2 / 9 / n)
  assert scalars['accuracy'] == pytest.approx(1 / 3, abs=slack)


def test_brightness_and_contrast_change_by_the_share_that_is_set():
  """Black, -1, becomes -(1 + 0.5 u) + 0.5 v for u, v in [-1, 1]."""
  n = 4000
  black = jnp.full((n, 2, 1, 1, 3), -1.0)
  loss = _loss(Watching(), 0.5)
  keys = toy_losses.keys(n)
  found = np.asarray(jax.vmap(loss._recolour)(keys, black))
  assert found.std(axis=(1, 2, 3, 4)).max() < 1e-6  # the same in all of a clip
  levels = found[:, 0, 0, 0, 0]
  assert levels.min() >= -2 and levels.max() <= 0
  assert levels.mean() == pytest.approx(-1, abs=0.04)
  assert levels.std() == pytest.approx(np.sqrt(2 / 12), rel=0.05)
