"""The loss of a digit reader."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

import toy_losses
from framebridge_jax.training import losses


class Undecided(nn.Module):
  """A reader that finds all classes equally likely."""

  @nn.compact
  def __call__(self, frames):
    return jnp.zeros((len(frames), 10))


class SeesLevel(nn.Module):
  """A reader of flat frames of level -1, 0, 1 or 2, sure of its answer."""

  @nn.compact
  def __call__(self, frames):
    level = jnp.round(frames.mean((1, 2, 3))).astype(jnp.int32) + 1
    return 50 * jax.nn.one_hot(level, 4)


def test_an_undecided_reader_loses_the_log_of_the_number_of_classes():
  loss = losses.ReaderLoss(
    network=Undecided(), encode=toy_losses.encode, noise=0.1
  )
  value, _ = tiny.quick_jit(loss)(
    {}, toy_losses.make_batch(), toy_losses.keys()
  )
  assert value == pytest.approx(np.log(10), rel=1e-6)


@pytest.mark.parametrize('frame', range(4))
def test_a_reader_learns_from_every_frame_alike(frame):
  """Frame i of every clip has level i - 1; label i is right a quarter."""
  n = 2048
  loss = losses.ReaderLoss(
    network=SeesLevel(), encode=lambda v: v.astype(jnp.float32) - 1, noise=0.0
  )
  levels = jnp.arange(4, dtype=jnp.uint8)[None, :, None, None, None]
  batch = {
    'video': jnp.broadcast_to(levels, (n, 4, 2, 2, 3)),
    'label': jnp.full(n, frame, jnp.int32),
  }
  _, scalars = tiny.quick_jit(loss)({}, batch, toy_losses.keys(n))
  slack = 5 * np.sqrt(0.25 * 0.75 / n)
  assert scalars['accuracy'] == pytest.approx(0.25, abs=slack)
