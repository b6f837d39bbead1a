"""Pictures of a run's way from the prior to the video, decoded.

`paths/` gets, of the first held-out clip, the latents `z_t` and the marginal's
means (FrameBridge Figs 1 and 2), and of several clips the prior, a sample and
the true clip (Figs 4 and 14).
"""

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from absl import logging
from etils import epath

from framebridge_jax import build, saved
from framebridge_jax.cli import animate, configs, evaluate, methods
from framebridge_jax.processes import diffusion, sde, table
from framebridge_jax.report import sheets

_SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)  # of T
_FRAMES = 6
_BESIDE = 'vp'  # the diffusion whose means are shown beside a bridge's


def write(config: ml_collections.ConfigDict, workdir: epath.PathLike) -> None:
  """Writes `paths/*.png`.

  Raises:
    ValueError: the workdir holds no run that animates.
  """
  workdir = epath.Path(workdir)
  saved.load_config(workdir)  # refuses a workdir without a run
  own = configs.load_recipe(str(configs.RECIPES / 'evaluate.py'))
  own.update({'num_clips': config.clips, 'seed': config.seed})
  whole = config.copy_and_resolve_references()
  with whole.unlocked():
    whole.update(own)
  truth, labels = evaluate.held_out(whole, workdir)
  animator = animate.open_animator(whole, workdir)
  made = animator(truth[:, :1], labels, np.arange(len(truth)))
  codec = build.make_codec(whole)
  z0 = codec.encode(truth)
  prior = _prior(whole, workdir, z0, labels)

  def decoded(z):
    return np.asarray(codec.decode(z))

  folder = workdir / methods.PATHS
  rows = {
    'latents_z_t': _walk(whole, z0[:1], prior[:1], noise=True),
    'means_of_the_bridge': _walk(whole, z0[:1], prior[:1], noise=False),
    'means_of_a_diffusion': _diffusion_means(z0[:1]),
  }
  for name, walk in rows.items():
    strips = [(label, _thin(decoded(z)[0])) for label, z in walk]
    _write(folder / f'{name}.png', strips)
  priors = decoded(prior)
  strips = [
    (f'{i} {what}', _thin(clips[i]))
    for i in range(len(truth))
    for what, clips in (('prior', priors), ('ours', made), ('truth', truth))
  ]
  _write(folder / 'prior_and_video.png', strips)
  logging.info('Wrote %s', folder)


def _walk(config, z0, prior, *, noise):
  """Latents at times from the prior to the video, or their means."""
  process = build.make_process(config)
  key = jax.random.key(config.seed)
  eps = jax.random.normal(key, z0.shape, z0.dtype)
  eps = eps if noise else jnp.zeros_like(eps)
  for share in reversed(_SHARES):
    t = jnp.full(z0.shape[:2], share * process.schedule.T, z0.dtype)
    t = t.at[:, 0].set(0.0) if config.hold_given else t  # the given frame
    yield f't = {share:g} T', sde.perturb(process, z0, prior, t, eps)


def _diffusion_means(z0):
  process = diffusion.Diffusion(
    schedule=build.make_row(_BESIDE, table.SCHEDULES)
  )
  for share in reversed(_SHARES):
    t = jnp.full(z0.shape[:2], share * process.schedule.T, z0.dtype)
    yield (
      f't = {share:g} T',
      sde.perturb(process, z0, z0, t, jnp.zeros_like(z0)),
    )


def _prior(config, workdir, z0, labels):
  """What the run's bridge begins with, given the first frames."""
  given = jnp.zeros(z0.shape[:2], bool).at[:, 0].set(True)
  device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  prior, _ = build.make_conditioning(config)(
    saved.of_run(config, workdir, device).variables,
    z0,
    given,
    jnp.asarray(labels, jnp.int32),
    jnp.zeros_like(z0),
  )
  return prior


def _thin(clip):
  """Some of the frames, evenly."""
  times = np.linspace(0, len(clip) - 1, min(_FRAMES, len(clip))).astype(int)
  return clip[times]


def _write(path, strips):
  zoom = max(1, 96 // strips[0][1].shape[1])
  sheets.write_png(path, sheets.sheet_of_clips(strips, zoom=zoom))
