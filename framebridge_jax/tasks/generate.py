"""Carrying a task out: the jit border of sampling.

Static, by value: the denoiser, the sampler and which kinds of guidance there
are.  Everything else is an array, so step counts (up to the plan's padding),
tasks, guidance scales and seeds share one compilation.

A loop that is watched walks in parts of the program that walks it at once, so
that watching changes no bit of the result.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from framebridge_jax import arrays, denoiser
from framebridge_jax.arrays import Labels, Latents, SampleKeys
from framebridge_jax.samplers import grids, loop
from framebridge_jax.tasks import inputs, plans, programs


@dataclasses.dataclass(frozen=True, kw_only=True)
class Motion:
  """What makes clips move more or less; the defaults change nothing.

  Attributes:
    temperature: scale of all noise that frames set out with or are given on
      the way.
    start_noise: scale of what they set out with.  At the start of
      FrameBridge's public grid its code has 0.
    image_noise: standard deviation of noise on the given frames, where prior
      and condition are made of them (FrameBridge Table 7).
    known_time: share of T at which known frames are shown to the network; they
      come back as they are all the same.
    stride: that the network hears; None: the one it was trained with.
  """

  temperature: float = 1.0
  start_noise: float = 1.0
  image_noise: float = 0.0
  known_time: float = 0.0
  stride: float | None = None


STILL = Motion()


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
    motion: how freely.
  """

  plan: plans.Plan
  grid: grids.Grid
  conditioning: denoiser.Conditioning
  pad_to: int
  given: tuple[int, ...] | None = None
  motion: Motion = STILL


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


class Preview(NamedTuple):
  """What a clip looks like on the way.

  Attributes:
    step: steps taken.
    num_steps: of the plan.
    x0: the denoiser's answer there, in latents; known frames as they are.
  """

  step: int
  num_steps: int
  x0: Latents


class CancelledError(Exception):
  """Whoever watched wanted no more.

  Attributes:
    preview: what was seen last.
  """

  def __init__(self, preview: Preview):
    super().__init__(f'cancelled after step {preview.step}')
    self.preview = preview


class Watch(NamedTuple):
  """Looks on while clips are made.

  Attributes:
    see: is shown a preview; `False` ends the sampling.
    every: steps from one preview to the next.
  """

  see: Callable[[Preview], bool | None]
  every: int


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
  watch: Watch | None = None,
) -> Latents:
  """Samples one clip a key; known frames of `source` come back bit for bit.

  Args:
    model: joins network and process.
    sampler: moves the frames along the plan.
    variables: of the network.
    task: what is known and when each frame moves.
    source: clean latents; read are known frames, and those that set out part
      of the way.  Less than float32 is computed with in float32.
    label: class of each clip.
    keys: one a sample: its noise is the same in any batch, on any devices.
    guide: strengths of guidance.
    null_label: the class that guidance pushes away from: no class, or one
      that is not wanted.
    watch: sees previews, which cost one call of the network each and change
      nothing.

  Raises:
    ValueError: an argument has another shape or holds other things than it
      should, a bridge is to start without a known frame or to be guided by
      its history, or the prediction says nothing where the plan starts.
    CancelledError: `watch` ended it.
  """
  return go_on(
    model,
    sampler,
    variables,
    task,
    source=source,
    label=label,
    keys=keys,
    guide=guide,
    null_label=null_label,
    watch=watch,
  ).latents


class Made(NamedTuple):
  """Clips at the end of a plan, which need not be the end of the way.

  Attributes:
    latents: as they are there.
    centred: the same less the prior, from which another walk goes on.
  """

  latents: Latents
  centred: Latents


def go_on(
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
  watch: Watch | None = None,
  carried: Latents | None = None,
) -> Made:
  """As `generate`, from where another walk ended to where the plan ends.

  Frames that set out part of the way are those of `carried`, the `centred` of
  that walk, and not noised ones of the source.  Their prior may be another by
  now: a bridge minus its prior knows nothing of it.
  """
  inputs.check_clips(source, label, keys, null_label)
  inputs.check_task(task, frames=source.shape[1])
  known, given = masks(task)
  times = plans.time_plan(
    task.plan, task.grid, batch=len(source), pad_to=task.pad_to
  )
  inputs.check_start(model, task, given, guide)
  doubts = ('doubt',) if task.motion.known_time else ()
  how = programs.How(model, sampler, task.conditioning, (*guide.kinds, *doubts))
  clips = programs.lay_out(
    source,
    {'known': known, 'given': given, 'kept': task.plan[0] > 0},
    times,
    {**dataclasses.asdict(task.motion), **dataclasses.asdict(guide)},
    label=label,
    null_label=null_label,
    keys=keys,
    carried=carried,
  )
  walk = _walk(how, variables, clips, len(task.plan) - 1, watch)
  return Made(programs.finish(how, clips, walk), walk.state.y)


def _walk(how, variables, clips, steps, watch):
  """Takes all steps, at once or in the parts that are watched."""
  walk = programs.prepare(how, variables, clips)
  every = steps if watch is None else watch.every
  for first in range(0, steps, every):
    last = min(first + every, steps)
    walk = programs.advance(how, variables, clips, walk, (first, last))
    if watch is not None and last < steps:
      x0 = programs.glance(how, variables, clips, walk, last)
      preview = Preview(last, steps, x0)
      if watch.see(preview) is False:
        raise CancelledError(preview)
  return walk


def masks(task: Task) -> tuple[np.ndarray, np.ndarray]:
  """Which frames come back as they are, and which the conditioning reads."""
  known = np.all(task.plan == 1, axis=0)
  if task.given is None:
    return known, known
  return known, np.isin(np.arange(len(known)), task.given)


def padded(num_steps: int) -> int:
  """Steps of the loop that plans of about this length share."""
  return next((n for n in _LOOPS if n >= num_steps), num_steps)


def sample_keys(seed: int, ids: Sequence[int] | np.ndarray) -> SampleKeys:
  """One key a sample id, whatever batch it is drawn in."""
  return arrays.sample_keys(jax.random.key(seed), jnp.asarray(ids, jnp.int32))


_LOOPS = (64, 256, 1024)
