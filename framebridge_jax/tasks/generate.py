"""Carrying a task out: the jit border of sampling.

Static, by value: the denoiser, the sampler and which kinds of guidance there
are.  Everything else is an array, so step counts (up to the plan's padding),
tasks, guidance scales and seeds share one compilation.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from framebridge_jax import arrays, denoiser
from framebridge_jax.arrays import FrameMask, Labels, Latents, SampleKeys
from framebridge_jax.processes import sde
from framebridge_jax.samplers import grids, guidance, loop
from framebridge_jax.tasks import inputs, plans

# Purposes of a sample's noise.
_START, _WALK, _PRIOR, _VIEW, _HIDDEN = range(5)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Task:
  """What is known, from which prior, and along which plan.

  Attributes:
    plan: progress [steps + 1, f]; frames at 1 throughout are known.
    grid: progress to process time.
    conditioning: from the given frames to the prior, and to what is seen.
    given: frames that the conditioning may read; None: the known ones.  With
      FrameBridge's own recipe the first frame is given, and made anew.
    pad_to: steps of the compiled loop; plans up to this length share it.
    start_noise: scale of the noise that frames set out with.  1 is right; at
      the start of FrameBridge's public grid its code has 0.
  """

  plan: plans.Plan
  grid: grids.Grid
  conditioning: denoiser.Conditioning
  pad_to: int
  given: tuple[int, ...] | None = None
  start_noise: float = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Guidance:
  """How the answer is pushed, by one transform after the other.

  The defaults leave it alone.

  Attributes:
    scale: away from the answer of the null label (classifier-free).
    history: away from the answer without known frames; diffusion only.
    rescale: share of the answer taken back to the unguided contrast.
    start: share of the way, in time, from which on frames are guided.
    stop: share up to which they are.
  """

  scale: float = 1.0
  history: float = 1.0
  rescale: float = 0.0
  start: float = 0.0
  stop: float = 1.0

  def __post_init__(self):
    if not 0 <= self.start < self.stop <= 1:
      raise ValueError(
        f'guidance runs from {self.start:g} to {self.stop:g} of the way; want '
        f'0 <= start < stop <= 1'
      )

  @property
  def kinds(self) -> tuple[str, ...]:
    """The transforms that are needed, by name; guidance costs calls."""
    if self.scale == 1 and self.history == 1:
      return ()
    needed = {
      'label': self.scale != 1,
      'history': self.history != 1,
      'rescale': self.rescale != 0,
      'interval': (self.start, self.stop) != (0, 1),
    }
    return tuple(name for name, wanted in needed.items() if wanted)


def generate(
  model: denoiser.Denoiser,
  sampler: loop.Sampler,
  variables: PyTree,
  task: Task,
  *,
  source: Latents,
  label: Labels,
  keys: SampleKeys,
  guide: Guidance,
  null_label: int,
) -> Latents:
  """Samples one clip a key; known frames of `source` come back bit for bit.

  Args:
    model: joins network and process.
    sampler: moves the frames along the plan.
    variables: of the network.
    task: what is known and when each frame moves.
    source: clean latents; read are known frames, and those that set out part
      of the way.
    label: class of each clip.
    keys: one a sample: its noise is the same in any batch, on any devices.
    guide: strengths of guidance.
    null_label: the class that guidance pushes away from: no class, or one
      that is not wanted.

  Raises:
    ValueError: an argument has another shape or holds other things than it
      should, a bridge is to start without a known frame or to be guided by
      its history, or the prediction says nothing where the plan starts.
  """
  inputs.check_clips(source, label, keys, null_label)
  inputs.check_task(task, frames=source.shape[1])
  given = np.all(task.plan == 1, axis=0)
  if task.given is not None:
    given = np.isin(np.arange(task.plan.shape[1]), task.given)
  times = plans.time_plan(
    task.plan, task.grid, batch=len(source), pad_to=task.pad_to
  )
  inputs.check_start(model, task, given, guide)
  of_clips = functools.partial(np.broadcast_to, shape=source.shape[:2])
  return _sample(
    _How(model, sampler, task.conditioning, guide.kinds),
    variables,
    _Clips(
      source=source,
      given=jnp.asarray(of_clips(given)),
      kept=jnp.asarray(of_clips(task.plan[0] > 0)),
      times=jnp.asarray(times),
      start_noise=jnp.asarray(task.start_noise, jnp.float32),
      label=jnp.asarray(label, jnp.int32),
      null_label=jnp.asarray(null_label, jnp.int32),
      strengths={
        name: jnp.asarray(value, jnp.float32)
        for name, value in dataclasses.asdict(guide).items()
      },
      keys=keys,
    ),
  )


def sample_keys(seed: int, ids: Sequence[int] | np.ndarray) -> SampleKeys:
  """One key a sample id, whatever batch it is drawn in."""
  return arrays.sample_keys(jax.random.key(seed), jnp.asarray(ids, jnp.int32))


def walk_noise(keys: SampleKeys, step: Array, like: Latents) -> Latents:
  """Unit noise of one step, from the samples' keys alone."""
  return arrays.normal_like(arrays.fold(arrays.fold(keys, _WALK), step), like)


class _How(NamedTuple):
  """What is compiled for, by value."""

  model: denoiser.Denoiser
  sampler: loop.Sampler
  conditioning: denoiser.Conditioning
  kinds: tuple[str, ...]


class _Clips(NamedTuple):
  """What crosses the jit besides the variables."""

  source: Latents
  given: FrameMask
  kept: FrameMask
  times: Float[Array, 'rows b f']
  start_noise: Float[Array, '']
  label: Labels
  null_label: Int[Array, '']
  strengths: dict[str, Float[Array, '']]
  keys: SampleKeys

  def noise(self, purpose: int) -> Latents:
    """Unit noise for one purpose."""
    return arrays.normal_like(arrays.fold(self.keys, purpose), self.source)


@functools.partial(jax.jit, static_argnames='how')
def _sample(how: _How, variables: PyTree, clips: _Clips) -> Latents:
  process, source = how.model.process, clips.source
  prior, cond = how.conditioning(
    variables, source, clips.given, clips.label, clips.noise(_PRIOR)
  )
  # Other frames of the source are no one's business, not even as noise: they
  # set out from the prior, or from noise alone where there is no prior.
  end = jnp.full_like(clips.times[0], process.schedule.T)
  pulled = arrays.expand_like(process.marginal(end).b, prior)
  kept = arrays.expand_like(clips.kept, source)
  zt = sde.perturb(
    process,
    jnp.where(kept, source, pulled * prior),
    prior,
    clips.times[0],
    clips.start_noise * clips.noise(_START),
  )
  return loop.run(
    how.sampler,
    process,
    _guided(how, variables, clips, prior, cond),
    zt,
    clips.times,
    prior=prior,
    noise=lambda step: walk_noise(clips.keys, step, source),
  )


def _guided(how, variables, clips, prior, cond):
  """The denoiser, pushed by one kind of guidance after the other."""
  strengths, T = clips.strengths, how.model.process.schedule.T

  def bound(cond):
    seen = denoiser.Given(prior, cond, clips.noise(_VIEW))
    return how.model.bind(variables, seen)

  strong = guided = bound(cond)
  if 'label' in how.kinds:
    null = jnp.full_like(clips.label, clips.null_label)
    weak = bound(cond._replace(label=null))
    guided = guidance.extrapolate(guided, weak, strengths['scale'])
  if 'history' in how.kinds:
    weak = _forgetful(how, variables, clips, bound)
    guided = guidance.extrapolate(guided, weak, strengths['history'])
  if 'rescale' in how.kinds:
    guided = guidance.rescale(guided, strong, strengths['rescale'])
  if 'interval' in how.kinds:
    low, high = ((1 - strengths[name]) * T for name in ('stop', 'start'))
    guided = guidance.between(guided, strong, low, high)
  return guided


def _forgetful(how, variables, clips, bound):
  """The denoiser that knows no frame: noise at T stands in their place."""
  process, given = how.model.process, clips.given
  nothing, T = jnp.zeros_like(clips.source), process.schedule.T
  hidden = sde.perturb(
    process,
    nothing,
    nothing,
    jnp.full_like(clips.times[0], T),
    clips.noise(_HIDDEN),
  )
  _, blind = how.conditioning(
    variables, nothing, jnp.zeros_like(given), clips.label, nothing
  )
  return guidance.forgetful(bound(blind), given, hidden, T)
