"""Carrying a task out: the jit border of sampling.

Static, by value: the denoiser, the sampler and whether there is guidance.
Everything else is an array, so step counts (up to the plan's padding), tasks,
guidance scales and seeds share one compilation.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from framebridge_jax import arrays, denoiser
from framebridge_jax.arrays import FrameMask, Labels, Latents, SampleKeys
from framebridge_jax.processes import bridge, priors
from framebridge_jax.samplers import grids, guidance, loop
from framebridge_jax.tasks import plans

_START, _WALK = 0, 1  # purposes of a sample's noise


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Task:
  """What is known, from which prior, and along which plan.

  Attributes:
    plan: progress [steps + 1, f]; frames at 1 throughout are known.
    grid: progress to process time.
    prior: builds zT from the known frames.
    pad_to: steps of the compiled loop; plans up to this length share it.
  """

  plan: plans.Plan
  grid: grids.Grid
  prior: priors.PriorFn
  pad_to: int


def generate(
  model: denoiser.Denoiser,
  sampler: loop.Sampler,
  variables: PyTree,
  task: Task,
  *,
  source: Latents,
  label: Labels,
  keys: SampleKeys,
  scale: float,
  null_label: int,
) -> Latents:
  """Samples one clip a key; known frames of `source` come back bit for bit.

  Args:
    model: joins network and process.
    sampler: moves the frames along the plan.
    variables: of the network.
    task: what is known and when each frame moves.
    source: clean latents; only known frames are read.
    label: class of each clip.
    keys: one a sample: its noise is the same in any batch, on any devices.
    scale: of guidance; 1 is the conditional model and costs half.
    null_label: the class that guidance pushes away from.
  """
  known = jnp.broadcast_to(
    jnp.asarray(np.all(task.plan == 1, axis=0)), source.shape[:2]
  )
  times = plans.time_plan(
    task.plan, task.grid, batch=len(source), pad_to=task.pad_to
  )
  return _sample(
    model,
    sampler,
    task.prior,
    scale != 1,
    variables,
    source,
    known,
    jnp.asarray(times),
    jnp.asarray(label, jnp.int32),
    jnp.asarray(null_label, jnp.int32),
    jnp.asarray(scale, jnp.float32),
    keys,
  )


def walk_noise(keys: SampleKeys, step: Array, like: Latents) -> Latents:
  """Unit noise of one step, from the samples' keys alone."""
  return arrays.normal_like(arrays.fold(arrays.fold(keys, _WALK), step), like)


@functools.partial(
  jax.jit, static_argnames=('model', 'sampler', 'make_prior', 'guided')
)
def _sample(
  model,
  sampler,
  make_prior,
  guided: bool,
  variables: PyTree,
  source: Latents,
  known: FrameMask,
  times: Float[Array, 'rows b f'],
  label: Labels,
  null_label,
  scale,
  keys: SampleKeys,
) -> Latents:
  prior = make_prior(source, known)
  # Unknown frames of the source are no one's business, not even as noise.
  source = jnp.where(arrays.expand_like(known, source), source, prior)
  start = arrays.normal_like(arrays.fold(keys, _START), source)
  zt = bridge.perturb(model.process, source, prior, times[0], start)

  def bound(labels):
    cond = denoiser.condition(labels, prior, known)
    return model.bind(variables, denoiser.Given(prior, cond))

  denoise = bound(label)
  if guided:
    null = bound(jnp.full_like(label, null_label))
    denoise = guidance.classifier_free(denoise, null, scale)
  return loop.run(
    sampler,
    model.process,
    denoise,
    zt,
    times,
    prior=prior,
    noise=lambda step: walk_noise(keys, step, source),
  )
