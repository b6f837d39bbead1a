"""From a config to objects: the one place where names become things."""

import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import optax
from jaxtyping import Array, Key, PyTree

from framebridge_jax import arrays, denoiser
from framebridge_jax.data import codec, sources
from framebridge_jax.models import digit_reader, latte
from framebridge_jax.processes import bridge, predictions, priors, schedules
from framebridge_jax.samplers import grids, loop, table
from framebridge_jax.training import losses, optimizers, step

Config = ml_collections.ConfigDict
Init = Callable[[Key[Array, '']], PyTree]

ASSETS = pathlib.Path(__file__).parent / 'assets'
WEIGHTS = {'quickstart_base': ASSETS / 'quickstart_base.safetensors'}
DTYPES = {'float32': jnp.float32, 'bfloat16': jnp.bfloat16}


def make_codec(config: Config) -> codec.Codec:
  """The codec between pixels and latents."""
  return codec.CODECS[config.codec]()


def make_denoiser(config: Config) -> denoiser.Denoiser:
  """Network, process and prediction, joined."""
  process = dict(config.process)
  schedule = schedules.SCHEDULES[process.pop('schedule')]
  make_process = bridge.PROCESSES[process.pop('name')]
  model = dict(config.model)
  network = latte.MODELS[model.pop('name')](**model, dtype=DTYPES[config.dtype])
  return denoiser.Denoiser(
    network=network,
    process=make_process(schedule=schedule(**process)),
    prediction=predictions.PREDICTIONS[config.denoiser.prediction],
    view=denoiser.VIEWS[config.denoiser.view],
    clock_scale=config.denoiser.clock_scale,
  )


def make_init(config: Config) -> Init:
  """Gives a function from a key to the job's parameters, boxed."""
  return JOBS[config.job].init(config)


def make_loss(config: Config) -> step.Loss:
  """The job's training loss."""
  return JOBS[config.job].loss(config)


def make_source(
  config: Config, split: str, workdir: pathlib.Path
) -> sources.Source:
  """The data set's split, prepared if it is not yet."""
  return sources.open_source(
    config.dataset,
    split,
    data_dir=cache_dir(config, workdir),
    size=config.data.size,
    frames=config.data.frames,
    stride=config.data.stride,
    options=SOURCE_OPTIONS[config.dataset](config),
  )


def cache_dir(config: Config, workdir: pathlib.Path) -> pathlib.Path:
  """Where prepared data stand; the workdir's own folder by default."""
  return (
    pathlib.Path(config.cache_dir) if config.cache_dir else workdir / 'data'
  )


def _digits_options(config):
  return {
    'world': config.data.world,
    'train': config.data.train_clips,
    'test': config.data.test_clips,
  }


def _folder_options(config):
  return {'path': config.data_dir}


SOURCE_OPTIONS = {'moving_digits': _digits_options, 'folder': _folder_options}


def make_optimizer(config: Config) -> optax.GradientTransformation:
  """AdamW with clipping and a learning-rate schedule."""
  return optimizers.adamw(
    optimizers.Recipe(**config.optimizer, num_steps=config.train.num_steps)
  )


def make_sampler(config: Config) -> loop.Sampler:
  """A row of SAMPLERS."""
  return table.SAMPLERS[config.sampler]()


def make_grid(config: Config, T: float) -> grids.Grid:
  """A row of GRIDS."""
  return grids.GRIDS[config.grid](T)


def weights_path(name: str) -> pathlib.Path:
  """A weight file by its short name or its path."""
  return WEIGHTS.get(name, pathlib.Path(name))


def abstract_params(config: Config) -> Any:
  """Shapes of the model's parameters, without making them."""
  init = make_init(config)
  return jax.eval_shape(lambda key: nn.unbox(init(key)), jax.random.key(0))


def sample_keys(seed: int, ids) -> arrays.SampleKeys:
  """One key a sample id, whatever batch it is drawn in."""
  return arrays.sample_keys(jax.random.key(seed), jnp.asarray(ids, jnp.int32))


class Job(NamedTuple):
  """Something that can be trained."""

  init: Callable[[Config], Init]
  loss: Callable[[Config], step.Loss]


def _bridge_init(config):
  network = make_denoiser(config).network
  shape = make_codec(config).latent_shape(config.data.frames, config.data.size)
  z = jnp.zeros((1, *shape), jnp.float32)
  t = jnp.zeros(z.shape[:2], jnp.float32)
  label = jnp.zeros(1, jnp.int32)
  cond = denoiser.condition(label, z, jnp.ones(t.shape, bool))
  return lambda key: network.init(key, z, t, cond)


def _bridge_loss(config):
  return losses.BridgeLoss(
    denoiser=make_denoiser(config),
    encode=make_codec(config).encode,
    prior=priors.PRIORS[config.prior],
    weight=losses.SnrWeight(**config.loss),
    task_mix=tuple(sorted(config.task_mix.items())),
    **config.times,
    label_dropout=config.label_dropout,
    null_label=config.model.classes,
  )


def _reader_init(config):
  frame = jnp.zeros((1, config.data.size, config.data.size, 3), jnp.float32)
  return lambda key: _reader(config).init(key, frame)


def _reader_loss(config):
  return losses.ReaderLoss(
    network=_reader(config),
    encode=make_codec(config).encode,
    noise=config.loss.noise,
  )


def _reader(config):
  return digit_reader.DigitReader(classes=config.model.classes)


JOBS = {
  'bridge': Job(_bridge_init, _bridge_loss),
  'digit_reader': Job(_reader_init, _reader_loss),
}
