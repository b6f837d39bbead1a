"""What can be trained: its parameters and its loss, by name."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, PyTree

from framebridge_jax import arrays, build
from framebridge_jax.build import Config
from framebridge_jax.models import digit_reader, latte, motion_reader
from framebridge_jax.processes import times
from framebridge_jax.training import flops, freezing, losses
from framebridge_jax.training import state as states
from framebridge_jax.training import step as steps

Init = Callable[[Key[Array, '']], PyTree]


def make_init(config: Config) -> Init:
  """Gives a function from a key to all that the job trains, boxed."""
  init = JOBS[config.job].init(config)
  adapted = build.make_lora(config)
  return adapted.grown(init) if adapted else init


def make_loss(config: Config) -> steps.Loss:
  """The job's training loss."""
  loss = JOBS[config.job].loss(config)
  adapted = build.make_lora(config)
  if not adapted:
    return loss
  return lambda params, *args: loss(adapted.merged(params), *args)


def make_step(config: Config) -> steps.Step:
  """The job's training step."""
  return steps.make_step(
    make_loss(config),
    build.make_optimizer(config),
    ema_decays=config.ema_decays,
    key=jax.random.fold_in(jax.random.key(config.seed), 1),
    accumulate=config.train.accumulate,
    spikes=build.make_spikes(config),
    frozen=build.make_frozen(config),
  )


def layout(config: Config, mesh: jax.sharding.Mesh) -> states.TrainState:
  """Shapes and places of the job's state; nothing is computed."""
  return states.layout(
    make_init(config),
    build.make_optimizer(config),
    mesh,
    ema_decays=config.ema_decays,
    frozen=build.make_frozen(config),
  )


def create(config: Config, mesh: jax.sharding.Mesh) -> states.TrainState:
  """The job's state at its birth."""
  return states.create(
    make_init(config),
    build.make_optimizer(config),
    jax.random.key(config.seed),
    mesh,
    ema_decays=config.ema_decays,
    frozen=build.make_frozen(config),
  )


def abstract_batch(config: Config) -> dict[str, jax.ShapeDtypeStruct]:
  """Shapes of what a step is given of the data."""
  codec = build.make_codec(config)
  shape = codec.latent_shape(config.data.frames, config.data.size)
  clips = config.train.batch_size
  batch = {
    'video': jax.ShapeDtypeStruct((clips, *shape), codec.ahead_dtype),
    'label': jax.ShapeDtypeStruct((clips,), np.int32),
  }
  width = config.model.get('text_width', 0)
  if width:
    batch['text'] = jax.ShapeDtypeStruct((clips, width), np.float32)
  return batch


def loss_operations(config: Config, params: PyTree) -> float:
  """Of the matrix products of a batch's loss, on all devices together.

  Raises:
    ValueError: they cannot be counted.
  """
  return _operations(config, params, make_loss(_plain(config)))


def step_operations(config: Config, params: PyTree) -> float:
  """The same of loss and gradient, with what remat computes anew.

  Raises:
    ValueError: they cannot be counted.
  """
  loss, frozen = make_loss(_plain(config)), build.make_frozen(config)

  def gradient(params, batch, keys):
    trained, rest = freezing.split(params, frozen)
    return jax.value_and_grad(
      lambda part: loss(freezing.joined(part, rest), batch, keys), has_aux=True
    )(trained)

  return _operations(config, params, gradient)


def _operations(config, params, fn):
  batch = abstract_batch(config)
  ids = jnp.arange(config.train.batch_size)
  keys = jax.eval_shape(lambda: arrays.sample_keys(jax.random.key(0), ids))
  return flops.count(fn, params, batch, keys)


def _plain(config):
  """Other kernels of attention hide the same products."""
  plain = config.copy_and_resolve_references().unlock()
  for key in ('model', 'prior_model'):
    if 'attention' in plain.get(key, {}):
      plain[key].attention = 'xla'
  return plain


def merged(config: Config, params: PyTree) -> PyTree:
  """What networks are given of the parameters of a run."""
  adapted = build.make_lora(config)
  return adapted.merged(params) if adapted else params


def abstract_params(config: Config) -> Any:
  """Shapes of all that the job trains, without making it."""
  return _abstract(make_init(config))


def abstract_weights(config: Config) -> Any:
  """The same of what networks are given, and weight files hold."""
  return _abstract(JOBS[config.job].init(config))


def _abstract(init):
  return jax.eval_shape(lambda key: nn.unbox(init(key)), jax.random.key(0))


class Job(NamedTuple):
  """Something that can be trained."""

  init: Callable[[Config], Init]
  loss: Callable[[Config], steps.Loss]


def _denoiser_init(config):
  return lambda key: _init_bridge(config, key)


def _init_bridge(config, key):
  """Parameters of the network, and of F beside it where there is one."""
  own, other = jax.random.split(key)
  variables = _init_latte(config, build.make_denoiser(config).network, own)
  if build.NEURAL in (config.prior, config.denoiser.shown):
    network = build.make_network(config.prior_model, config.dtype)
    prior = _init_latte(config, network, other)['params']
    variables = {**variables, 'prior': prior}
  return variables


def _init_latte(config, network, key):
  shape = build.make_codec(config).latent_shape(
    config.data.frames, config.data.size
  )
  z = jnp.zeros((1, *shape), jnp.float32)
  t = jnp.zeros(z.shape[:2], jnp.float32)
  cond = latte.Cond(
    label=jnp.zeros(1, jnp.int32),
    prior=z,
    anchor=jnp.zeros(t.shape, jnp.int32),
    image=z[:, :1],
    text=jnp.zeros((1, network.text_width), jnp.float32),
    stride=jnp.ones(1, jnp.float32),
  )
  return network.init(key, z, t, cond)


def _denoiser_loss(config):
  drawing = dict(config.times)
  return losses.DenoiserLoss(
    denoiser=build.make_denoiser(config),
    encode=build.make_codec(config).encode,
    conditioning=build.make_conditioning(config),
    weight=build.make_row(config.loss_weight, losses.LOSS_WEIGHTS),
    task_mix=tuple(sorted(config.task_mix.items())),
    hold_given=config.hold_given,
    times=times.Ptss(
      draw=build.make_row(drawing.pop('draw'), times.DRAWS),
      coin=times.COINS[drawing.pop('coin')],
      **drawing,
    ),
    label_dropout=config.label_dropout,
    null_label=config.model.classes,
    condition_noise=build.make_row(config.condition_noise, times.NOISES)
    if config.condition_noise
    else None,
    time_bins=config.log.time_bins,
  )


def _prior_init(config):
  network = build.make_network(config.model, config.dtype)
  return lambda key: _init_latte(config, network, key)


def _prior_loss(config):
  return losses.PriorLoss(
    network=build.make_network(config.model, config.dtype),
    encode=build.make_codec(config).encode,
    label_dropout=config.label_dropout,
    null_label=config.model.classes,
  )


def _reader_init(config):
  frame = jnp.zeros((1, config.data.size, config.data.size, 3), jnp.float32)
  return lambda key: _reader(config).init(key, frame)


def _reader_loss(config):
  return losses.ReaderLoss(
    network=_reader(config),
    encode=build.make_codec(config).encode,
    noise=config.loss.noise,
  )


def _reader(config):
  return digit_reader.DigitReader(classes=config.model.classes)


def _motion_init(config):
  data = config.data
  clip = jnp.zeros((1, data.frames, data.size, data.size, 3), jnp.float32)
  return lambda key: _motion_reader(config).init(key, clip)


def _motion_loss(config):
  return losses.MotionLoss(
    network=_motion_reader(config),
    encode=build.make_codec(config).encode,
    brightness=config.loss.brightness,
  )


def _motion_reader(config):
  return motion_reader.MotionReader(classes=config.model.classes)


JOBS = {
  'denoiser': Job(_denoiser_init, _denoiser_loss),
  'neural_prior': Job(_prior_init, _prior_loss),
  'digit_reader': Job(_reader_init, _reader_loss),
  'motion_reader': Job(_motion_init, _motion_loss),
}
