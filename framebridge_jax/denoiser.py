"""The only place where a network's output becomes the clean latent.

The denoiser joins network, process and prediction.  The network is shown a
view of the noisy latent, `z = alpha (z0 - origin) + sigma eps` at a time of
its own, and

  x0_hat = origin + skip z + out raw.

`align` makes the denoiser of a bridge out of a pre-trained teacher.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from framebridge_jax import arrays
from framebridge_jax.arrays import (
  FrameMask,
  FrameTime,
  Labels,
  Latents,
)
from framebridge_jax.models import latte, prior_network
from framebridge_jax.processes import (
  bridge,
  clocks,
  predictions,
  priors,
  saf,
  sde,
  views,
)
from framebridge_jax.samplers import loop

_OWN = saf.Own()


class Given(NamedTuple):
  """What is given besides zt and t; a pytree of arrays that crosses jit.

  Attributes:
    prior: zT, the same in all branches of guidance.
    cond: what the network sees.
    noise: unit noise that a teacher sees at T of a bridge, where the latent
      holds nothing.
  """

  prior: Latents
  cond: Any
  noise: Latents


@runtime_checkable
class MakePrior(Protocol):
  """Makes zT of the given frames, or what the network sees of them."""

  def __call__(
    self,
    variables: Any,
    z0: Latents,
    given: FrameMask,
    label: Labels,
    noise: Latents,
  ) -> Latents:
    """Reads the given frames of z0 and unit noise, and nothing else."""
    ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Formula:
  """A prior that is a formula: a row of PRIORS."""

  prior: priors.PriorFn

  def __call__(
    self,
    variables: Any,
    z0: Latents,
    given: FrameMask,
    label: Labels,
    noise: Latents,
  ) -> Latents:
    """Ignores variables and class."""
    del variables, label
    return self.prior(z0, given, noise)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Neural:
  """A prior that is predicted: F(z^i, c) (FrameBridge 4.3).

  F's parameters stand beside the bridge's as `variables['prior']`, so that a
  checkpoint is whole, and get no gradient.
  """

  network: latte.Latte

  def __call__(
    self,
    variables: Any,
    z0: Latents,
    given: FrameMask,
    label: Labels,
    noise: Latents,
  ) -> Latents:
    """F of the nearest given frames."""
    image = priors.replicate(z0, given, noise)
    own = {'params': jax.lax.stop_gradient(variables['prior'])}
    return prior_network.predict(self.network, own, image, label)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Conditioning:
  """From the frames that are given to a prior, and to what a network sees.

  The two are apart: FrameBridge's Table 5 shows F to bridges from Gaussian and
  replicated priors, too.

  Attributes:
    prior: makes zT.
    shown: makes what stands on the network's channels; None: nothing.
    stride: that a network hears where a batch says none; None: nothing.
  """

  prior: MakePrior
  shown: MakePrior | None = None
  stride: float | None = None

  def __call__(
    self,
    variables: Any,
    z0: Latents,
    given: FrameMask,
    label: Labels,
    noise: Latents,
  ) -> tuple[Latents, latte.Cond]:
    """The prior, and the condition of the clips' own classes."""
    args = variables, z0, given, label, noise
    prior = self.prior(*args)
    shown = (
      prior if self.shown == self.prior else self.shown and self.shown(*args)
    )
    return prior, latte.Cond(
      label=label,
      prior=shown,
      anchor=priors.nearest_known(given),
      image=priors.replicate(z0, given, noise)[:, :1],
      stride=None
      if self.stride is None
      else jnp.full(label.shape, self.stride, jnp.float32),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Denoiser:
  """Answers `(zt, t)` with x0_hat; known frames (t = 0) come back as given.

  Attributes:
    network: linen module `(z, t, cond) -> raw`; compares by value.  Twice the
      channels of z are a prediction and a learned variance in [-1, 1].
    process: where `zt` stands at `t`.
    prediction: a row of PREDICTIONS.
    view: what the network is shown.
    clock: from the view's time to what the network embeds.
  """

  network: nn.Module
  process: sde.Process
  prediction: Callable[[FrameTime, FrameTime], predictions.Prediction]
  view: views.MakeView = views.plain
  clock: Callable[[FrameTime], FrameTime] = clocks.Continuous()

  def __call__(
    self, variables: Any, zt: Latents, t: FrameTime, given: Given
  ) -> loop.Answer:
    """Estimates z0 [b, f, h, w, c] from zt at per-frame times t [b, f].

    Raises:
      ValueError: an argument has another shape, or does not hold numbers.
    """
    arrays.require('zt', zt, 'floating', arrays.CLIPS)
    arrays.require('t', t, 'floating', zt.shape[:2])
    arrays.require('given.prior', given.prior, 'floating', zt.shape)
    arrays.require('given.noise', given.noise, 'floating', zt.shape)
    view = self.view(self.process, zt, t, given.prior, given.noise)
    skip, out, scale = (
      arrays.expand_like(x, zt) for x in self.prediction(view.alpha, view.sigma)
    )
    raw = self.network.apply(
      variables, scale * view.z, self.clock(view.t), given.cond
    ).astype(zt.dtype)
    raw, spread = _split_variance(raw, zt.shape[-1])
    x0_hat = view.origin + skip * view.z + out * raw
    x0_hat = jnp.where(arrays.expand_like(t > 0, zt), x0_hat, zt)
    return loop.Answer(x0_hat, spread)

  def bind(self, variables: Any, given: Given) -> loop.Denoise:
    """Leaves only `(zt, t)` open, which is all that a sampler may see."""
    return lambda zt, t: self(variables, zt, t, given)

  def weight(self, t: FrameTime) -> FrameTime:
    """`1 / out^2`: the error of x0_hat becomes that of the network's target.

    The paper's loss weight 1 on psi (FrameBridge Eq. 6).  0 where the target
    says nothing about z0.
    """
    out = self._out(t)
    return arrays.safe_divide(jnp.ones_like(out), out**2)

  def hears(self, t: FrameTime) -> Bool[Array, 'b f']:
    """Whether the network's output has a say in the answer at t > 0.

    A prediction of eps has none where no signal is left.
    """
    return self._out(t) != 0

  def _out(self, t):
    blank = jnp.zeros((*t.shape, 1, 1, 1), t.dtype)
    view = self.view(self.process, blank, t, blank, blank)
    return self.prediction(view.alpha, view.sigma).out


def align(
  teacher: Denoiser, process: bridge.Bridge, lookup: saf.Lookup = _OWN
) -> Denoiser:
  """Makes a bridge's denoiser of a teacher's (SAF, FrameBridge 4.2).

  The teacher keeps its network, prediction and clock; it is shown the
  bridge's latents as its own (Proposition 2).
  """
  schedule = teacher.process.schedule
  view = saf.Aligned(teacher=schedule, lookup=lookup)
  return dataclasses.replace(teacher, process=process, view=view)


def _split_variance(raw, channels):
  """Latte's second half of the channels, in [-1, 1], as a spread."""
  if raw.shape[-1] == channels:
    return raw, None
  raw, spread = jnp.split(raw, 2, axis=-1)
  return raw, 0.5 * (spread + 1)
