"""Carrying a task out: the jit border of sampling.

Static, by value: the denoiser, the sampler and which kinds of guidance there
are.  Everything else is an array, so step counts (up to the plan's padding),
tasks, guidance scales and seeds share one compilation.
"""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from framebridge_jax import arrays, denoiser
from framebridge_jax.arrays import FrameMask, Labels, Latents, SampleKeys
from framebridge_jax.processes import sde
from framebridge_jax.samplers import grids, guidance, loop
from framebridge_jax.tasks import plans

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
    ValueError: a bridge is to start without a known frame or to be guided by
      its history, or the prediction says nothing where the plan starts.
  """
  given = np.all(task.plan == 1, axis=0)
  if task.given is not None:
    given = np.isin(np.arange(task.plan.shape[1]), task.given)
  _refuse(model, task, given, guide)
  times = plans.time_plan(
    task.plan, task.grid, batch=len(source), pad_to=task.pad_to
  )
  of_clips = functools.partial(np.broadcast_to, shape=source.shape[:2])
  return _sample(
    model,
    sampler,
    task.conditioning,
    guide.kinds,
    variables,
    source,
    jnp.asarray(of_clips(given)),
    jnp.asarray(of_clips(task.plan[0] > 0)),
    jnp.asarray(times),
    jnp.asarray(task.start_noise, jnp.float32),
    jnp.asarray(label, jnp.int32),
    jnp.asarray(null_label, jnp.int32),
    {
      name: jnp.asarray(value, jnp.float32)
      for name, value in dataclasses.asdict(guide).items()
    },
    keys,
  )


def sample_keys(seed: int, ids: Sequence[int] | np.ndarray) -> SampleKeys:
  """One key a sample id, whatever batch it is drawn in."""
  return arrays.sample_keys(jax.random.key(seed), jnp.asarray(ids, jnp.int32))


def walk_noise(keys: SampleKeys, step: Array, like: Latents) -> Latents:
  """Unit noise of one step, from the samples' keys alone."""
  return arrays.normal_like(arrays.fold(arrays.fold(keys, _WALK), step), like)


def _refuse(model, task, given, guide):
  pulled = model.process.marginal(jnp.full((1, 1), model.process.schedule.T)).b
  if pulled != 0 and not given.any():
    raise ValueError(
      'no frame is given, so a bridge has no prior to start from; give a task '
      'with given frames, or a diffusion model'
    )
  if pulled != 0 and guide.history != 1:
    raise ValueError(
      f'history guidance is {guide.history:g} on a bridge, whose prior is made '
      f'of the known frames; set it to 1, or use a diffusion model'
    )
  start = task.grid(task.plan[:1])[:, task.plan[0] < 1].astype(np.float32)
  deaf = (start > 0) & ~np.asarray(model.hears(jnp.asarray(start)))
  if deaf.any():
    raise ValueError(
      f'no signal is left at t = {start[deaf].max():g}, where a prediction of '
      f'noise says nothing about the clip; start below it, or use a model '
      f'that predicts v or x0'
    )


@functools.partial(
  jax.jit, static_argnames=('model', 'sampler', 'conditioning', 'kinds')
)
def _sample(
  model,
  sampler,
  conditioning,
  kinds: tuple[str, ...],
  variables: PyTree,
  source: Latents,
  given: FrameMask,
  kept: FrameMask,
  times: Float[Array, 'rows b f'],
  start_noise,
  label: Labels,
  null_label,
  strengths,
  keys: SampleKeys,
) -> Latents:
  def draw(purpose):
    return arrays.normal_like(arrays.fold(keys, purpose), source)

  prior, cond = conditioning(variables, source, given, label, draw(_PRIOR))
  # Other frames of the source are no one's business, not even as noise: they
  # set out from the prior, or from noise alone where there is no prior.
  T = model.process.schedule.T
  end = jnp.full_like(times[0], T)
  pulled = arrays.expand_like(model.process.marginal(end).b, prior)
  source = jnp.where(arrays.expand_like(kept, source), source, pulled * prior)
  zt = sde.perturb(
    model.process, source, prior, times[0], start_noise * draw(_START)
  )

  def bound(cond):
    return model.bind(variables, denoiser.Given(prior, cond, draw(_VIEW)))

  strong = guided = bound(cond)
  if 'label' in kinds:
    weak = bound(cond._replace(label=jnp.full_like(label, null_label)))
    guided = guidance.extrapolate(guided, weak, strengths['scale'])
  if 'history' in kinds:
    nothing = jnp.zeros_like(prior)
    hidden = sde.perturb(model.process, nothing, nothing, end, draw(_HIDDEN))
    _, blind = conditioning(
      variables, nothing, jnp.zeros_like(given), label, nothing
    )
    weak = guidance.forgetful(bound(blind), given, hidden, T)
    guided = guidance.extrapolate(guided, weak, strengths['history'])
  if 'rescale' in kinds:
    guided = guidance.rescale(guided, strong, strengths['rescale'])
  if 'interval' in kinds:
    low, high = ((1 - strengths[name]) * T for name in ('stop', 'start'))
    guided = guidance.between(guided, strong, low, high)
  return loop.run(
    sampler,
    model.process,
    guided,
    zt,
    times,
    prior=prior,
    noise=lambda step: walk_noise(keys, step, source),
  )
