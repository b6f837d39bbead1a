"""The compiled programs of sampling: prepare, advance, glance, finish.

What is the same in every step is made once by `prepare`; `advance` is the
loop, all of it or some of its steps; `glance` looks at a clip on the way.
"""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from framebridge_jax import arrays, denoiser
from framebridge_jax.arrays import FrameMask, Labels, Latents, SampleKeys
from framebridge_jax.processes import sde
from framebridge_jax.samplers import loop
from framebridge_jax.tasks import questions

# Purposes of a sample's noise.
_START, _WALK, _PRIOR, _VIEW, _HIDDEN, _IMAGE, _KNOWN, _WINDOW = range(8)


class How(NamedTuple):
  """What is compiled for, by value.

  Attributes:
    model: joins network and process.
    sampler: moves the frames.
    conditioning: from the given frames to the prior and to what is seen.
    kinds: of guidance, and `doubt` where known frames are shown with noise.
  """

  model: denoiser.Denoiser
  sampler: loop.Sampler
  conditioning: denoiser.Conditioning
  kinds: tuple[str, ...]


class Clips(NamedTuple):
  """What crosses the jit besides the variables.

  Attributes:
    source: clean latents.
    known: frames that come back as they are.
    given: frames that the conditioning reads.
    kept: frames of the source that are read at all.
    times: the plan.
    numbers: strengths of guidance and of motion, by name.
    label: class of each clip.
    null_label: the class that guidance pushes away from.
    keys: one a sample.
    carried: centred latents of a walk that goes on: where frames set out that
      are kept and not known; None: they set out from the source.
  """

  source: Latents
  known: FrameMask
  given: FrameMask
  kept: FrameMask
  times: loop.Times
  numbers: dict[str, Float[Array, '']]
  label: Labels
  null_label: Int[Array, '']
  keys: SampleKeys
  carried: Latents | None = None

  @property
  def clean(self) -> Latents:
    """The source, in float32 at least."""
    half = jnp.finfo(self.source.dtype).bits < 32
    return self.source.astype(jnp.float32) if half else self.source

  def noise(self, purpose: int) -> Latents:
    """Unit noise for one purpose."""
    return arrays.normal_like(arrays.fold(self.keys, purpose), self.clean)

  def with_known(self, latents: Latents) -> Latents:
    """Latents whose known frames are the source's, to the bit."""
    known = arrays.expand_like(self.known, latents)
    return jnp.where(known, self.source, latents.astype(self.source.dtype))


class Walk(NamedTuple):
  """What the loop carries, and what is the same in all of its steps."""

  zt: Latents
  prior: Latents
  asked: dict[str, questions.Question]
  state: Any


def lay_out(
  source: Latents,
  masks: Mapping[str, Bool[np.ndarray, 'f']],
  times: Float[np.ndarray, 'rows b f'],
  numbers: Mapping[str, float | None],
  *,
  label: Labels,
  null_label: int,
  keys: SampleKeys,
  carried: Latents | None = None,
) -> Clips:
  """Makes arrays of all that differs from call to call."""
  known, given, kept = (
    jnp.asarray(np.broadcast_to(masks[name], source.shape[:2]))
    for name in ('known', 'given', 'kept')
  )
  return Clips(
    source=jnp.asarray(source),
    known=known,
    given=given,
    kept=kept,
    times=jnp.asarray(times),
    numbers={
      name: jnp.asarray(value, jnp.float32)
      for name, value in numbers.items()
      if value is not None
    },
    label=jnp.asarray(label, jnp.int32),
    null_label=jnp.asarray(null_label, jnp.int32),
    keys=keys,
    carried=carried,
  )


@functools.partial(jax.jit, static_argnames='how')
def prepare(how: How, variables: PyTree, clips: Clips) -> Walk:
  """Makes prior, conditions and the start."""
  process, source = how.model.process, clips.clean
  image = source + clips.numbers['image_noise'] * clips.noise(_IMAGE)
  prior, cond = how.conditioning(
    variables, image, clips.given, clips.label, clips.noise(_PRIOR)
  )
  if cond.stride is not None and 'stride' in clips.numbers:
    heard = jnp.broadcast_to(clips.numbers['stride'], cond.stride.shape)
    cond = cond._replace(stride=heard)
  # Other frames of the source are no one's business, not even as noise: they
  # set out from the prior, or from noise alone where there is no prior.
  end = jnp.full_like(clips.times[0], process.schedule.T)
  pulled = arrays.expand_like(process.marginal(end).b, prior)
  loudness = clips.numbers['temperature'] * clips.numbers['start_noise']
  zt = sde.perturb(
    process,
    jnp.where(arrays.expand_like(clips.kept, source), source, pulled * prior),
    prior,
    clips.times[0],
    loudness * clips.noise(_START),
  )
  if clips.carried is not None:
    on = arrays.expand_like(clips.kept & ~clips.known, zt)
    zt = jnp.where(
      on, loop.placed(process, clips.carried, clips.times[0], prior=prior), zt
    )
  asked = _asked(how, variables, clips, prior, cond)
  state = loop.begin(how.sampler, process, zt, clips.times, prior=prior)
  return Walk(zt, prior, asked, state)


@functools.partial(jax.jit, static_argnames='how')
def advance(
  how: How,
  variables: PyTree,
  clips: Clips,
  walk: Walk,
  span: tuple[loop.Step, loop.Step],
) -> Walk:
  """Takes the steps of a span."""
  heat = clips.numbers['temperature']
  state = loop.walk(
    how.sampler,
    how.model.process,
    _denoise(how, variables, clips, walk),
    walk.state,
    clips.times,
    prior=walk.prior,
    noise=lambda step: heat * walk_noise(clips.keys, step, walk.zt),
    span=span,
  )
  return walk._replace(state=state)


@functools.partial(jax.jit, static_argnames='how')
def glance(
  how: How, variables: PyTree, clips: Clips, walk: Walk, step: loop.Step
) -> Latents:
  """The answer that the loop would get next, after `step` steps."""
  t = clips.times[step]
  zt = loop.placed(how.model.process, walk.state.y, t, prior=walk.prior)
  denoise = _denoise(how, variables, clips, walk)
  return clips.with_known(denoise(zt, t).x0)


@functools.partial(jax.jit, static_argnames='how')
def finish(how: How, clips: Clips, walk: Walk) -> Latents:
  """Takes the clips out."""
  return clips.with_known(
    loop.end(
      how.model.process, walk.state, walk.zt, clips.times, prior=walk.prior
    )
  )


def window_keys(keys: SampleKeys, number: int) -> SampleKeys:
  """The samples' keys for one window of a clip that is made in several."""
  return arrays.fold(arrays.fold(keys, _WINDOW), number)


def walk_noise(keys: SampleKeys, step: Array, like: Latents) -> Latents:
  """Unit noise of one step, from the samples' keys alone."""
  return arrays.normal_like(arrays.fold(arrays.fold(keys, _WALK), step), like)


def _denoise(how, variables, clips, walk):
  """The guided denoiser of these clips."""
  strengths = {
    name: clips.numbers[number]
    for name, number in questions.STRENGTHS.items()
    if name in how.kinds
  }
  if 'interval' in how.kinds:
    T = how.model.process.schedule.T
    for name, share in (('low', 'stop'), ('high', 'start')):
      strengths[name] = (1 - clips.numbers[share]) * T
  return questions.guided(how.model, variables, walk.asked, strengths)


def _asked(how, variables, clips, prior, cond):
  """What each answer that guidance needs is to hear."""
  noise, T = clips.noise(_VIEW), how.model.process.schedule.T

  def question(cond, hidden):
    return questions.Question(denoiser.Given(prior, cond, noise), hidden)

  doubted = None
  if 'doubt' in how.kinds:
    time = clips.numbers['known_time'] * T
    doubted = _hidden(how, clips, clips.clean, time, _KNOWN)
  asked = {'strong': question(cond, doubted)}
  if 'label' in how.kinds:
    null = jnp.full_like(clips.label, clips.null_label)
    asked['label'] = question(cond._replace(label=null), doubted)
  if 'history' in how.kinds:
    # Noise at T stands in the place of what was known.
    nothing = jnp.zeros_like(clips.clean)
    _, blind = how.conditioning(
      variables, nothing, jnp.zeros_like(clips.given), clips.label, nothing
    )
    blind = blind._replace(stride=cond.stride)
    hidden = _hidden(how, clips, nothing, jnp.float32(T), _HIDDEN)
    asked['history'] = question(blind, hidden)
  return asked


def _hidden(how, clips, clean, time, purpose):
  """Shows known frames at a time of their own; each is its own prior."""
  times = jnp.broadcast_to(time, clips.known.shape)
  noise = clips.noise(purpose)
  shown = sde.perturb(how.model.process, clean, clean, times, noise)
  return questions.Hidden(clips.known, shown, time)
