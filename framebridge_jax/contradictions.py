"""Values of a config that are fine alone and refuse each other."""

import importlib.util
from collections.abc import Iterator

import ml_collections

from framebridge_jax import build, data_contradictions
from framebridge_jax.data import sources
from framebridge_jax.processes import discrete
from framebridge_jax.processes import table as processes
from framebridge_jax.training import profiling

Config = ml_collections.ConfigDict


def find(config: Config) -> list[str]:
  """One sentence for each contradiction of a training config."""
  return [
    *_data_files(config),
    *_weight_files(config),
    *data_contradictions.find(config),
    *of_program(config),
  ]


def of_program(config: Config) -> list[str]:
  """The same of what is compiled, with no word on files that are read."""
  return [*_running(config), *JOBS[config.job](config)]


def _data_files(config) -> Iterator[str]:
  try:
    places = build.data_places(config)
  except ValueError as error:
    yield str(error)
    places = []
  for row, place in zip(sources.parse(config.dataset), places, strict=False):
    if row.name in ('folder', 'prepared_folder') and not place.path:
      yield (
        f'dataset is {row.name} and data_dir is empty; set --config.data_dir '
        f'to a folder of videos'
      )


def _weight_files(config) -> Iterator[str]:
  if config.init_from and not build.weights_path(config.init_from).is_file():
    yield (
      f'init_from is {config.init_from!r}, want a weight file, one of '
      f"{', '.join(build.WEIGHTS)}, or '' to train from nothing"
    )

  if config.lora.rank and not config.init_from:
    yield (
      f"lora.rank is {config.lora.rank} and init_from is ''; LoRA changes "
      f'weights that are there, so name them'
    )
  if _neural(config) and not build.weights_path(config.prior_from).is_file():
    yield (
      f'prior_from is {config.prior_from!r}, want the weights of a neural '
      f'prior: train one with configs/neural_prior_ucf101.py and export it'
    )


def _neural(config):
  """Whether a neural prior stands beside the network."""
  if config.job != 'denoiser':
    return False
  return build.NEURAL in (config.prior, config.denoiser.shown)


def _running(config) -> Iterator[str]:
  try:
    build.make_optimizer(config)
  except ValueError as error:
    yield f'optimizer.schedule: {error}'
  try:
    profiling.parse(config.log.profile_steps, '.')
  except ValueError as error:
    yield f'log.{error}'
  yield from _best(config.train)
  yield from _adapted(config)
  if config.log.wandb and not importlib.util.find_spec('wandb'):
    yield (
      f'log.wandb is {config.log.wandb!r} and the package wandb is not '
      f"installed; pip install wandb, or leave it ''"
    )
  if config.train.batch_size % config.train.accumulate:
    yield (
      f'train.batch_size {config.train.batch_size} cannot be parted into '
      f'train.accumulate {config.train.accumulate} equal parts'
    )


def _adapted(config) -> Iterator[str]:
  """What LoRA wants."""
  if not config.lora.rank:
    return
  if not config.lora.targets:
    yield (
      f"lora.rank is {config.lora.rank} and lora.targets is ''; give a regex "
      f'of the matrices that it changes'
    )


def _best(train) -> Iterator[str]:
  if train.best and train.best not in _NUMBERS:
    yield f'train.best is {train.best!r}, want one of {", ".join(_NUMBERS)}'
  every = train.validate_every
  if train.best == 'validation_loss' and not every:
    yield (
      'train.best is validation_loss and train.validate_every is 0; give the '
      'steps between such losses'
    )
  elif train.best == 'validation_loss' and train.checkpoint_every % every:
    yield (
      f'train.checkpoint_every is {train.checkpoint_every}, no multiple of '
      f'train.validate_every ({every}): a checkpoint without a '
      f'validation_loss is never the best'
    )


def _denoiser(config) -> Iterator[str]:
  yield from _process(config)
  yield from _view(config)
  yield from _network(config, 'model')
  yield from _heard(config)
  yield from _prior(config)
  yield from _given(config)


def _process(config) -> Iterator[str]:
  try:
    build.make_process(config)
  except ValueError as error:
    yield f'process.schedule: {error}'


def _view(config) -> Iterator[str]:
  view, prediction = config.denoiser.view, config.denoiser.prediction
  teacher = config.denoiser.teacher
  if view == 'residual' and prediction in ('eps', 'psi'):
    yield (
      f'denoiser.prediction is {prediction}; the residual view holds no '
      f'signal at T, where a prediction of noise says nothing'
    )
  if view == 'aligned' and not teacher:
    yield (
      'denoiser.view is aligned and denoiser.teacher is empty; name the '
      'schedule that the teacher was trained on'
    )
  if view != 'aligned' and teacher:
    yield (
      f'denoiser.teacher is {teacher!r} but denoiser.view is {view!r}; only '
      f'aligned has a teacher'
    )
  if view == 'aligned' and teacher and not _has_lookup(config.denoiser):
    yield (
      f'denoiser.lookup is {config.denoiser.lookup!r}, which reads a table; '
      f'the teacher {teacher!r} has none, so use own'
    )


def _has_lookup(config):
  schedule = build.make_row(config.teacher, processes.SCHEDULES)
  own = config.lookup.partition(':')[0] == 'own'
  return own or isinstance(schedule, discrete.Discrete)


def _network(config, key) -> Iterator[str]:
  network = build.make_network(config[key], config.dtype)
  try:
    _, side, _, _ = build.make_codec(config).latent_shape(
      config.data.frames, config.data.size
    )
  except ValueError as error:
    yield f'codec: {error}'
    return
  if side % network.patch:
    # The codec's factor makes the latent's side of the clip's.
    yield (
      f'data.size {config.data.size} gives latents of side {side}, which is '
      f'not a multiple of {key}.patch {network.patch}'
    )
  if network.width % (4 * network.heads):
    yield (
      f'{key}.width {network.width} is not a multiple of 4 {key}.heads '
      f'({network.heads})'
    )
  if network.depth % 2:
    yield (
      f'{key}.depth {network.depth} is odd; half of the blocks are spatial, '
      f'half temporal'
    )


def _heard(config) -> Iterator[str]:
  """What a denoiser of a run can hear of its data."""
  yield from data_contradictions.text(config)
  data = config.data
  if config.model.get('stride') and data.max_stride <= data.stride:
    yield (
      f'model.stride is True and data.max_stride is {data.max_stride}; one '
      f'stride teaches nothing, so set it above data.stride ({data.stride})'
    )
  if not config.model.get('timed', True):
    yield 'model.timed is False; a denoiser must hear the time'


def _prior(config) -> Iterator[str]:
  if config.model.get('prior', False) != bool(config.denoiser.shown):
    yield (
      f'model.prior is {config.model.get("prior", False)} and denoiser.shown '
      f'is {config.denoiser.shown!r}; a network has channels for a prior if '
      f'and only if it is shown one'
    )
  if not _neural(config):
    return
  if 'prior_model' not in config:
    yield (
      f'prior is {config.prior!r}, denoiser.shown {config.denoiser.shown!r} '
      f'and there is no prior_model; give the network that predicts the prior'
    )
  else:
    yield from _network(config, 'prior_model')
    yield from _untimed(config, 'prior_model')
  if not config.optimizer.freeze.startswith('^prior/'):
    yield (
      f'optimizer.freeze is {config.optimizer.freeze!r}, but the neural prior '
      f"stays as it is; begin with '^prior/'"
    )


def _given(config) -> Iterator[str]:
  mix = config.get('task_mix', {})
  if config.process.name == 'bridge' and mix.get('none'):
    yield (
      'task_mix.none is set for a bridge, whose prior is made of known frames; '
      'use process.name=diffusion'
    )
  if mix.get('first_and_last') and config.data.frames < 3:
    yield (
      f'data.frames is {config.data.frames}; task_mix.first_and_last leaves '
      f'nothing to learn below 3'
    )
  if not any(mix.values()):
    yield 'all weights of task_mix are 0; give one at least'


def _neural_prior(config) -> Iterator[str]:
  yield from _network(config, 'model')
  yield from _untimed(config, 'model')


def _untimed(config, key) -> Iterator[str]:
  if config[key].get('timed', True):
    yield f'{key}.timed is True; a neural prior hears no time'
  if config[key].get('stride'):
    yield f'{key}.stride is True; a neural prior hears no stride'


# What a checkpoint can be chosen by; the least is best.
_NUMBERS = ('loss', 'mse', 'grad_norm', 'validation_loss')

JOBS = {
  'denoiser': _denoiser,
  'neural_prior': _neural_prior,
  'digit_reader': lambda config: (),
  'motion_reader': lambda config: (),
}
