"""What is shown of a run while it trains."""

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from framebridge_jax import arrays, build, jobs
from framebridge_jax.data import sources
from framebridge_jax.samplers import ancestral, grids
from framebridge_jax.tasks import generate
from framebridge_jax.training import logging as run_logging
from framebridge_jax.training import loop, sharding
from framebridge_jax.training import state as states

_CLIPS = 4
_STEPS = 10


def callbacks(
  config: ml_collections.ConfigDict,
  source: sources.Source,
  held_out: sources.Source | None,
  logger: run_logging.Logger,
) -> list[loop.Callback]:
  """Looks at a run: clips of a denoiser of pixels, the loss on held-out ones.

  Args:
    config: of the run.
    source: what it trains on.
    held_out: what it does not; None: no such loss.
    logger: gets what is found.
  """
  found = []
  sampled = config.job == 'denoiser' and not config.model.get('text_width')
  sampled &= jax.process_count() == 1  # hosts have no clips in common
  if sampled and build.make_codec(config).shows:
    found.append(_clips(config, source, logger))
  if held_out is not None:
    found.append(_validation(config, held_out, logger))
  return found


def _validation(config, source, logger):
  """The averaged weights' loss on the same batches with the same noise."""
  loss = jobs.make_loss(config)
  ahead = build.make_ahead(config)
  average = states.ema_name(config.ema_decays[0])
  key = jax.random.key(config.seed)

  @jax.jit
  def score(params, batch, position):
    ids = jnp.arange(len(batch['label']))
    keys = arrays.sample_keys(jax.random.fold_in(key, position), ids)
    return loss(params, batch, keys)[0]

  def run(state, step):
    with build.open_batches(config, source, 0) as batches:
      values = [
        score(
          states.averaged(state, average),
          ahead(sharding.place_batch(batch, state.step.sharding.mesh)),
          np.int32(position),
        )
        for position, batch in zip(
          range(config.train.validate_batches), batches, strict=False
        )
      ]
    scores = {'validation_loss': float(np.mean(jax.device_get(values)))}
    logger.write_scores(scores, step=step)
    return scores

  return loop.Callback(every=config.train.validate_every, run=run)


def _clips(config, source, logger):
  """Samples clips of fixed seeds while training, into TensorBoard."""
  denoiser = build.make_denoiser(config)
  codec = build.make_codec(config)
  with build.open_batches(config, source, 0) as batches:
    batch = next(batches)
  video = batch['video'][:_CLIPS]
  label = batch['label'][:_CLIPS]
  grid = grids.quadratic(denoiser.process, _STEPS)
  average = states.ema_name(config.ema_decays[0])
  task = build.make_task(config, grid, _STEPS)

  def show(state, step):
    latents = generate.generate(
      denoiser,
      ancestral.Ancestral(),
      jobs.merged(config, states.averaged(state, average)),
      task,
      source=codec.encode(video),
      label=jnp.asarray(label),
      keys=generate.sample_keys(0, range(len(video))),
      guide=generate.Guidance(),
      null_label=config.model.classes,
    )
    clips = np.asarray(codec.decode(latents))
    logger.write_clip('samples', clips, fps=8, step=step)

  return loop.Callback(every=config.train.sample_every, run=show)
