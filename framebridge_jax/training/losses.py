"""What networks are trained on."""

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import einops
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from framebridge_jax import arrays, denoiser
from framebridge_jax.arrays import FrameTime
from framebridge_jax.models import latte, prior_network
from framebridge_jax.processes import discrete, sde, times, variational
from framebridge_jax.training import step

Weight = Callable[[denoiser.Denoiser, FrameTime], FrameTime]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SnrWeight:
  """`min(floor + snr, most)` with `snr = a^2 / c^2` of the centred latent.

  For data of standard deviation `floor ** -0.5` this is the weight that gives
  an optimally preconditioned network a target of unit variance at every time
  (EDM, Karras et al. 2022), capped because low noise teaches only texture.
  """

  floor: float = 4.0
  most: float = 24.0

  def __call__(self, model: denoiser.Denoiser, t: FrameTime) -> FrameTime:
    """Weights [b, f] of squared errors in z0."""
    a, _, c = model.process.marginal(t)
    snr = arrays.safe_divide(a**2, c**2, self.most)
    # At T both vanish: the ratio of limits is 0, no signal.
    snr = jnp.where(a > 0, snr, 0.0)
    return jnp.minimum(self.floor + snr, self.most)


@dataclasses.dataclass(frozen=True, kw_only=True)
class OwnTarget:
  """Weight 1 on what the network itself predicts (FrameBridge Eq. 6, 23)."""

  def __call__(self, model: denoiser.Denoiser, t: FrameTime) -> FrameTime:
    """Weights [b, f] of squared errors in z0."""
    return model.weight(t)


class _Keys(NamedTuple):
  """Keys of a batch, one a sample, by what they are for; in this order."""

  given: arrays.SampleKeys
  time: arrays.SampleKeys
  noise: arrays.SampleKeys
  label: arrays.SampleKeys
  prior: arrays.SampleKeys
  view: arrays.SampleKeys
  known: arrays.SampleKeys
  image: arrays.SampleKeys


@dataclasses.dataclass(frozen=True, kw_only=True)
class DenoiserLoss:
  """Squared error of x0_hat over unknown frames, weighted by time.

  A learned variance adds the variational bound of one step of a thousand, in
  bits (Nichol & Dhariwal 2021, L_hybrid with weight 1, as Latte trains).

  Attributes:
    denoiser: what is trained.
    encode: pixels to latents.
    conditioning: from given frames to the prior and to what the network sees.
    weight: of a frame's error at its time.
    task_mix: weights of the given sets (rows of KNOWN_SETS).
    hold_given: whether given frames stand at t = 0 and leave the loss; if not
      they are a condition alone, as in FrameBridge's own recipe.
    times: draws the frames' times.
    label_dropout: share of samples that see the null class.
    null_label: the null class.
    condition_noise: draws the standard deviation of noise on the given frames
      that prior and condition are made of; None: they are clean.
    time_bins: equal parts of [0, T] over which the loss is reported too; 0
      reports none.
  """

  denoiser: denoiser.Denoiser
  encode: Callable[[Array], Array]
  conditioning: denoiser.Conditioning
  weight: Weight
  task_mix: tuple[tuple[str, float], ...]
  hold_given: bool
  times: times.Ptss
  label_dropout: float
  null_label: int
  condition_noise: Callable[[arrays.SampleKeys], Array] | None = None
  time_bins: int = 0

  def __call__(
    self, params: PyTree, batch: step.Batch, keys: arrays.SampleKeys
  ) -> tuple[Float[Array, ''], step.Scalars]:
    """Loss of a batch of `video` (uint8) and `label`, and its plain MSE.

    A batch may hold the clips' `stride`, and a vector of their `text`, which a
    network can hear.

    With `time_bins` also `loss_by_time`, see `by_time`.
    """
    process = self.denoiser.process
    of = _Keys(*(arrays.fold(keys, i) for i in range(len(_Keys._fields))))
    z0 = self.encode(batch['video'])
    frames = z0.shape[1]
    given = times.draw_known(of.given, frames, task_mix=self.task_mix)
    T = process.schedule.T
    t = self.times(of.time, frames, T)
    unknown = ~given if self.hold_given else jnp.ones_like(given)
    t = jnp.where(unknown, t, self.times.of_known(of.known, T))
    prior, cond = self.conditioning(
      params,
      self._image(of.image, z0),
      given,
      drop_labels(
        of.label, batch['label'], self.label_dropout, self.null_label
      ),
      arrays.normal_like(of.prior, z0),
    )
    said = {name: batch[name] for name in _SAID if name in batch}
    cond = cond._replace(**said)
    zt = sde.perturb(process, z0, prior, t, arrays.normal_like(of.noise, z0))
    seen = denoiser.Given(prior, cond, arrays.normal_like(of.view, z0))
    answer = self.denoiser(params, zt, t, seen)
    error2 = (answer.x0 - z0) ** 2
    weight = arrays.expand_like(self.weight(self.denoiser, t), z0)
    loss = arrays.masked_mean(weight * error2, unknown)
    metrics = {'mse': arrays.masked_mean(error2, unknown)}
    if self.time_bins:
      errors = einops.reduce(weight * error2, 'b f ... -> b f', 'mean')
      shares = jnp.where(unknown, t / T, 0.0)
      metrics['loss_by_time'] = by_time(errors, shares, self.time_bins)
    if answer.spread is not None:
      bits = _variance_bits(process.schedule, answer, z0, t)
      metrics['variance_bits'] = arrays.masked_mean(bits, unknown)
      loss += metrics['variance_bits']
    return loss, metrics

  def _image(self, keys, z0):
    """What is shown of the given frames: with noise, if it is so wished."""
    if self.condition_noise is None:
      return z0
    strength_keys, noise_keys = (arrays.fold(keys, i) for i in range(2))
    std = self.condition_noise(strength_keys)
    return z0 + std[:, None, None, None, None] * arrays.normal_like(
      noise_keys, z0
    )


def by_time(
  errors: Float[Array, 'b f'], shares: FrameTime, bins: int
) -> Float[Array, 'bins 2']:
  """Sum and count of the errors of unknown frames, by bins of their time.

  Bin i holds the shares t / T in [i, i + 1) / bins, the last one also 1.
  Frames at 0 are known, and what their errors are, NaN included, has no say.
  """
  places = jnp.minimum((shares * bins).astype(jnp.int32), bins - 1)
  inside = jax.nn.one_hot(places, bins, dtype=bool) & (shares > 0)[..., None]
  sums = jnp.sum(jnp.where(inside, errors[..., None], 0.0), axis=(0, 1))
  counts = jnp.sum(inside, axis=(0, 1)).astype(errors.dtype)
  return jnp.stack([sums, counts], axis=-1)


def drop_labels(
  keys: arrays.SampleKeys, labels: arrays.Labels, share: float, null_label: int
) -> arrays.Labels:
  """Turns a share of the labels into the null label, for guidance."""
  dropped = jax.vmap(lambda key: jax.random.bernoulli(key, share))(keys)
  return jnp.where(dropped, null_label, labels)


def _variance_bits(schedule, answer, z0, t):
  """The bound of a step back, in bits; it trains the spread alone."""
  t = jnp.where(t > 0, t, schedule.T)
  return variational.bound(
    schedule,
    jnp.maximum(t - schedule.T / discrete.ENTRIES, 0.0),
    t,
    z0=z0,
    x0_hat=jax.lax.stop_gradient(answer.x0),
    spread=answer.spread,
  ) / math.log(2)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PriorLoss:
  """Squared error of a neural prior against the clip (FrameBridge 4.3).

  The image is the clip's first frame, repeated.
  """

  network: latte.Latte
  encode: Callable[[Array], Array]
  label_dropout: float
  null_label: int

  def __call__(
    self, params: PyTree, batch: step.Batch, keys: arrays.SampleKeys
  ) -> tuple[Float[Array, ''], step.Scalars]:
    """Mean squared error of a batch of `video` (uint8) and `label`."""
    z0 = self.encode(batch['video'])
    image = jnp.repeat(z0[:, :1], z0.shape[1], axis=1)
    label = drop_labels(
      keys, batch['label'], self.label_dropout, self.null_label
    )
    mean = prior_network.predict(self.network, params, image, label)
    return jnp.mean((mean - z0) ** 2), {}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReaderLoss:
  """Cross entropy of a digit reader on one random frame of each clip.

  Frames get Gaussian noise of a random strength up to `noise`, so that the
  reader judges shapes and not the last grey level.
  """

  network: nn.Module
  encode: Callable[[Array], Array]
  noise: float

  def __call__(
    self, params: PyTree, batch: step.Batch, keys: arrays.SampleKeys
  ) -> tuple[Float[Array, ''], step.Scalars]:
    """Loss of a batch of `video` (uint8) and `label`, and its accuracy."""
    clips = self.encode(batch['video'])

    def pick(key, clip):
      which, strength, draw = jax.random.split(key, 3)
      frame = clip[jax.random.randint(which, (), 0, len(clip))]
      std = self.noise * jax.random.uniform(strength, (), frame.dtype)
      return frame + std * jax.random.normal(draw, frame.shape, frame.dtype)

    logits = self.network.apply(params, jax.vmap(pick)(keys, clips))
    with jax.numpy_dtype_promotion('standard'):
      loss = optax.softmax_cross_entropy_with_integer_labels(
        logits, batch['label']
      )
    right = jnp.argmax(logits, axis=-1) == batch['label']
    return jnp.mean(loss), {'accuracy': jnp.mean(right.astype(jnp.float32))}


@dataclasses.dataclass(frozen=True, kw_only=True)
class MotionLoss:
  """Cross entropy of a motion reader on whole clips.

  What a clip looks like says little about how it moves, so each clip's colours
  change places at random, and so do its brightness and contrast, by up to the
  share `brightness`.
  """

  network: nn.Module
  encode: Callable[[Array], Array]
  brightness: float

  def __call__(
    self, params: PyTree, batch: step.Batch, keys: arrays.SampleKeys
  ) -> tuple[Float[Array, ''], step.Scalars]:
    """Loss of a batch of `video` (uint8) and `label`, and its accuracy."""
    clips = jax.vmap(self._recolour)(keys, self.encode(batch['video']))
    logits = self.network.apply(params, clips).logits
    with jax.numpy_dtype_promotion('standard'):
      loss = optax.softmax_cross_entropy_with_integer_labels(
        logits, batch['label']
      )
    right = jnp.argmax(logits, axis=-1) == batch['label']
    return jnp.mean(loss), {'accuracy': jnp.mean(right.astype(jnp.float32))}

  def _recolour(self, key, clip):
    order, level, contrast = jax.random.split(key, 3)
    clip = jax.random.permutation(order, clip, axis=-1)
    shift = jax.random.uniform(level, (), clip.dtype, -1, 1)
    change = jax.random.uniform(contrast, (), clip.dtype, -1, 1)
    return clip * (1 + self.brightness * change) + self.brightness * shift


# What a batch may say besides the class, see `latte.Cond`.
_SAID = ('stride', 'text')

LOSS_WEIGHTS = {'snr': SnrWeight, 'own_target': OwnTarget}
