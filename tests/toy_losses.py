"""Losses of small clips, with a network that knows them."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import tiny

import toys
from framebridge_jax import arrays
from framebridge_jax.processes import bridge, schedules, times
from framebridge_jax.training import losses

B, F = 8, 4
PROCESS = bridge.Bridge(schedule=schedules.BridgeGmax())
MIX = (('first', 0.6), ('random', 0.4))


class Oracle(nn.Module):
  """Knows the clips: answers with the motion, times a weight."""

  @nn.compact
  def __call__(self, z, t, cond):
    clips = self.param('clips', nn.initializers.zeros_init(), z.shape)
    weight = self.param('weight', nn.initializers.ones_init(), ())
    return weight * (clips - cond.prior)


def make_batch(batch=B, seed=0):
  """Random clips and labels."""
  rng = np.random.default_rng(seed)
  shape = (batch, F, tiny.SIZE, tiny.SIZE, 3)
  return {
    'video': jnp.asarray(rng.integers(0, 256, shape), jnp.uint8),
    'label': jnp.asarray(rng.integers(0, tiny.CLASSES, batch), jnp.int32),
  }


def encode(video):
  """To [-1, 1]."""
  return video.astype(jnp.float32) / 127.5 - 1


def keys(batch=B, seed=0):
  """One a clip."""
  return arrays.sample_keys(jax.random.key(seed), jnp.arange(batch))


def make(network, model=None, **changes):
  """Of the tiny denoiser with this network, or of a whole model."""
  numbers = {
    'encode': encode,
    'conditioning': toys.conditioning(),
    'hold_given': True,
    'weight': losses.SnrWeight(floor=4.0, most=24.0),
    'task_mix': MIX,
    'times': times.Ptss(p_frames=0.3, p_end=0.1),
    'label_dropout': 0.2,
    'null_label': tiny.CLASSES,
  }
  return losses.DenoiserLoss(
    denoiser=model or tiny.make_denoiser(network), **{**numbers, **changes}
  )
