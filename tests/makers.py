"""Makers of clips from small networks, and things to give them."""

import numpy as np

import samples
import toys
from framebridge_jax import denoiser
from framebridge_jax.data import codec as codecs
from framebridge_jax.processes import priors
from framebridge_jax.samplers import ancestral, grids
from framebridge_jax.tasks import generate, making, windows

FRAMES, SIZE = 4, 2


def make(model: denoiser.Denoiser | None = None, **changes) -> making.Maker:
  """A maker of four frames of 2 x 2 pixels; the model is a bridge's toy."""
  given = {
    'model': model or samples.make(samples.BRIDGE),
    'variables': samples.TOY,
    'conditioning': toys.conditioning(priors.blend),
    'codec': codecs.Identity(),
    'hold_given': True,
    'frames': FRAMES,
    'size': SIZE,
    'place': lambda x: x,
    'share': 1,
  }
  return making.Maker(**(given | changes))


def style(maker: making.Maker, num_steps: int = 3, **changes) -> making.Style:
  """Ancestral steps."""
  given = {
    'sampler': ancestral.Ancestral(),
    'grid': grids.uniform(maker.model.process, num_steps),
    'num_steps': num_steps,
    'guide': generate.Guidance(),
    'motion': generate.Motion(),
    'null_label': samples.NULL,
  }
  return making.Style(**(given | changes))


def clip(frames: int = 1, seed: int = 0, size: int = SIZE) -> windows.Clip:
  """Random pixels."""
  rng = np.random.default_rng(seed)
  return windows.Clip(rng.integers(0, 256, (frames, size, size, 3), np.uint8))


def request(*clips: windows.Clip, label: int = 1, sample_id: int = 0, seed=0):
  """One clip that is wanted."""
  return making.Request(clips, label, seed, sample_id)


def run(maker, task, *requests, watch=None, **how):
  """Carries a task out."""
  chosen = style(maker, **how)
  window = windows.open_window(
    task, chosen.num_steps, maker.frames, maker.codec
  )
  return maker.make(window, requests, chosen, watch)
