"""What `sample` and `evaluate` share: a run ready to animate first frames."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from etils import epath

from framebridge_jax import build, denoiser
from framebridge_jax.arrays import Pixels
from framebridge_jax.cli import fitting, runs
from framebridge_jax.data import codec
from framebridge_jax.samplers import loop
from framebridge_jax.tasks import generate
from framebridge_jax.training import sharding


@dataclasses.dataclass(frozen=True, kw_only=True)
class Animator:
  """Animates first frames with a run's averaged weights."""

  denoiser: denoiser.Denoiser
  sampler: loop.Sampler
  variables: dict[str, Any]
  codec: codec.Codec
  task: generate.Task
  frames: int
  null_label: int
  seed: int
  guide: generate.Guidance
  mesh: jax.sharding.Mesh

  def __call__(self, images: Pixels, labels, sample_ids) -> Pixels:
    """Clips [b, f, h, w, c] of images [b, 1, h, w, c], one a sample id.

    Noise belongs to the sample id: batches and devices do not change it.
    """
    count = len(images)
    images, labels, sample_ids = (
      _pad(np.asarray(x), self.mesh.size) for x in (images, labels, sample_ids)
    )
    source, labels, keys = jax.device_put(
      (
        jnp.repeat(self.codec.encode(images), self.frames, axis=1),
        jnp.asarray(labels, jnp.int32),
        generate.sample_keys(self.seed, sample_ids),
      ),
      sharding.batch_sharding(self.mesh),
    )
    latents = generate.generate(
      self.denoiser,
      self.sampler,
      self.variables,
      self.task,
      source=source,
      label=labels,
      keys=keys,
      guide=self.guide,
      null_label=self.null_label,
    )
    return np.asarray(self.codec.decode(latents))[:count]


def _pad(x, multiple):
  """Repeats the last entry until the devices share the batch equally."""
  return np.concatenate([x, np.repeat(x[-1:], -len(x) % multiple, axis=0)])


def open_animator(
  config: ml_collections.ConfigDict, workdir: epath.PathLike
) -> Animator:
  """Loads what a checked config of `sample` or `evaluate` names.

  Raises:
    ValueError: the run is of another job than animating.
  """
  if config.job != 'denoiser':
    raise ValueError(
      f'{workdir} holds a run of job {config.job}; only a denoiser animates'
    )
  if config.model.get('text_width'):
    raise ValueError(
      f'the model in {workdir} hears text, which no mode that samples gives it '
      f'yet; train with model.text_width=0'
    )
  fitting.check_codec(config, workdir)
  model = build.make_denoiser(config)
  task = build.make_task(
    config,
    build.make_grid(config, model.process),
    config.num_steps,
    config.start_noise,
  )
  mesh = sharding.make_mesh(dict(config.mesh))
  return Animator(
    denoiser=model,
    sampler=build.make_sampler(config),
    variables=runs.load_variables(config, workdir, sharding.replicated(mesh)),
    codec=build.make_codec(config),
    task=task,
    frames=config.data.frames,
    null_label=config.model.classes,
    seed=config.seed,
    guide=generate.Guidance(
      scale=config.guidance,
      history=config.guidance_history,
      rescale=config.guidance_rescale,
      start=config.guidance_start,
      stop=config.guidance_stop,
    ),
    mesh=mesh,
  )
