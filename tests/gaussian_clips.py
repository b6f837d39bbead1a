"""Gaussian videos through the whole of sampling: exact networks, known answers.

Every pixel of a batch is an independent clip, so that one call draws tens of
thousands of them.  Frames are an autoregressive process: what follows a frame
depends on that frame alone, so that clips made window by window have a known
distribution too.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

import oracles
import toys
from framebridge_jax import arrays, denoiser
from framebridge_jax.processes import bridge, clocks, diffusion, priors, sde
from framebridge_jax.samplers import grids
from framebridge_jax.tasks import generate, plans

FRAMES, KEEP = 6, 0.8
MEAN = 0.3  # of every frame
VALUES = np.array([1.1, -0.6, 0.2, 0.9, -0.4, 0.7])  # of known frames
PROCESSES = {
  'bridge': bridge.Bridge(schedule=oracles.CLOSED['bridge_gmax'].schedule),
  'diffusion': diffusion.Diffusion(schedule=oracles.CLOSED['vp'].schedule),
}


def covariance(frames: int = FRAMES) -> np.ndarray:
  """Of unit variance; neighbours are alike by KEEP."""
  index = np.arange(frames)
  return KEEP ** np.abs(np.subtract.outer(index, index))


class Exact(nn.Module):
  """Answers with the conditional mean of a clip, as a trained network would."""

  process: sde.Process

  @nn.compact
  def __call__(self, z, t, cond):
    frames = z.shape[1]
    denoise = oracles.gaussian_denoiser(
      self.process,
      np.full(frames, MEAN, np.float32),
      covariance(frames).astype(np.float32),
      cond.prior,
    )
    # The denoiser puts known frames back itself; this must not rely on it.
    return denoise(z, t).x0


def model(process: sde.Process) -> denoiser.Denoiser:
  """A denoiser whose network is exact, at times as they are."""
  return toys.make_denoiser(
    Exact(process), process, clock=clocks.Continuous(scale=1.0)
  )


def draw(
  process: sde.Process,
  sampler,
  plan: plans.Plan,
  source: np.ndarray,
  *,
  side: int = 128,
  seed: int = 0,
  pad_to: int = 256,
  carried: jax.Array | None = None,
  straight: bool = False,
  steps: int = 0,
) -> generate.Made:
  """Makes `side`^2 clips of each row of `source` [b, f], or [b, f, h, w, c].

  The grid is one of `steps`, or of as many as the plan has.
  """
  if source.ndim == 2:
    source = np.broadcast_to(
      source[..., None, None, None], (*source.shape, side, side, 1)
    )
  steps = steps or len(plan) - 1
  grid = grids.uniform if straight else grids.log_snr
  return generate.go_on(
    model(process),
    sampler,
    {},
    generate.Task(
      plan=plan,
      grid=grid(process, steps),
      conditioning=toys.conditioning(priors.blend),
      pad_to=pad_to,
    ),
    source=jnp.asarray(source, jnp.float32),
    label=jnp.zeros(len(source), jnp.int32),
    keys=generate.sample_keys(seed, range(len(source))),
    guide=generate.Guidance(),
    null_label=0,
    carried=carried,
  )


def moments(clips: arrays.Latents) -> tuple[np.ndarray, np.ndarray]:
  """Mean [f] and covariance [f, f] over samples and pixels."""
  flat = np.moveaxis(np.asarray(clips, np.float64), 1, 0)
  flat = flat.reshape(len(flat), -1)
  return flat.mean(axis=1), np.cov(flat)


def conditional(known: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
  """Of a clip whose known frames hold their VALUES."""
  return oracles.conditional(np.full(FRAMES, MEAN), covariance(), known, VALUES)
