"""What the network is asked in a step: all of guidance in one batch.

A guided answer is made of two or three: to the clip's own condition, to the
null class, to a clip whose known frames are hidden.  Their questions stand
side by side, sample by sample, so that devices that share the samples share
the questions too, and the network is called once.
"""

from collections.abc import Callable
from typing import NamedTuple

import einops
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from framebridge_jax import denoiser
from framebridge_jax.arrays import FrameMask, FrameTime, Latents
from framebridge_jax.samplers import guidance, loop

Strengths = dict[str, Float[Array, '']]


class Hidden(NamedTuple):
  """Frames that a question shows other than they are.

  Attributes:
    frames: which.
    shown: what stands in their place.
    time: at which.
  """

  frames: FrameMask
  shown: Latents
  time: Float[Array, '']


class Question(NamedTuple):
  """What one answer hears besides zt and t."""

  given: denoiser.Given
  hidden: Hidden | None = None


def guided(
  model: denoiser.Denoiser,
  variables: PyTree,
  asked: dict[str, Question],
  strengths: Strengths,
) -> loop.Denoise:
  """The denoiser, pushed by one kind of guidance after the other.

  Args:
    model: that is asked.
    variables: of its network.
    asked: `strong`, and `label` and `history` where they guide.
    strengths: of `label` and `history`; `rescale` if the contrast is to be
      taken back, `low` and `high` if guidance holds between these times alone.
  """
  together = _together(model, variables, list(asked.values()))
  names = list(asked)

  def both(zt, t):
    answers = dict(zip(names, together(zt, t), strict=True))
    strong = answer = answers['strong']
    for kind in ('label', 'history'):
      if kind in answers:
        answer = guidance.extrapolate(answer, answers[kind], strengths[kind])
    if 'rescale' in strengths:
      answer = guidance.rescale(answer, strong, strengths['rescale'])
    return answer, strong

  if 'low' not in strengths:
    return lambda zt, t: both(zt, t)[0]
  alone = _together(model, variables, [asked['strong']])
  return guidance.between(
    both,
    lambda zt, t: alone(zt, t)[0],
    strengths['low'],
    strengths['high'],
  )


def _together(
  model, variables, questions
) -> Callable[[Latents, FrameTime], list[loop.Answer]]:
  """Asks all questions in one batch; the answers in their order."""
  count = len(questions)
  given = jax.tree.map(
    lambda *parts: _side_by_side(parts), *(q.given for q in questions)
  )

  def ask(zt, t):
    shown = [
      (zt, t) if q.hidden is None else guidance.forget(zt, t, *q.hidden)
      for q in questions
    ]
    zs, ts = (_side_by_side(parts) for parts in zip(*shown, strict=True))
    answer = model(variables, zs, ts, given)
    return [
      jax.tree.map(lambda x, i=i: x[i::count], answer) for i in range(count)
    ]

  return ask


def _side_by_side(parts):
  """One batch of n: the n questions of a sample are neighbours."""
  if len(parts) == 1:
    return parts[0]
  return einops.rearrange(jnp.stack(parts), 'n b ... -> (b n) ...')


# Kinds of guidance, and the numbers that say how strong they are.
STRENGTHS = {'label': 'scale', 'history': 'history', 'rescale': 'rescale'}
