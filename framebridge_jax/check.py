"""Config errors, all at once, before any device is touched."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

import ml_collections

from framebridge_jax import build, rules
from framebridge_jax.data import codec, sources
from framebridge_jax.models import latte
from framebridge_jax.processes import (
  clocks,
  discrete,
  predictions,
  priors,
  saf,
  times,
  views,
)
from framebridge_jax.processes import table as processes
from framebridge_jax.samplers import grids
from framebridge_jax.samplers import table as samplers
from framebridge_jax.training import losses, optimizers


class ConfigError(ValueError):
  """A config cannot be used; the message lists everything that is wrong."""


def check_train(config: ml_collections.ConfigDict) -> None:
  """Checks a training config.

  Raises:
    ConfigError: keys are missing, unknown or wrong, or do not go together.
  """
  job = config.get('job')
  _refuse(_value(rules.one_of(JOBS), 'job', job))
  _refuse(_against({**_TRAIN, **JOBS[job]}, config))
  _refuse(_together(config) + TOGETHER[job](config))


def check_mode(config: ml_collections.ConfigDict, mode: str) -> None:
  """Checks the keys that a mode's recipe adds to a run's config.

  Raises:
    ConfigError: as `check_train`, for the keys of the mode alone.
  """
  table = MODES[mode]
  missing = [name for name in table if name not in config]
  if missing:
    raise ConfigError(
      f'the config lacks {", ".join(missing)}, which --mode={mode} needs; '
      f'leave --config out to get the recipe of the mode'
    )
  _refuse(
    [
      problem
      for name, rule in table.items()
      for problem in _value(rule, name, config[name])
    ]
  )


def nearest(name: str, known: Iterable[str]) -> str:
  """`; did you mean ...?`, or the known names when none is near."""
  known = sorted(known)
  close = difflib.get_close_matches(name, known, n=1)
  if close:
    return f'; did you mean {close[0]}?'
  return f'; known: {", ".join(known)}'


def _refuse(problems):
  if problems:
    raise ConfigError('; '.join(problems))


def _against(table, config):
  flat = dict(_flatten(config.to_dict()))
  problems = []
  for name in sorted(flat.keys() - table.keys()):
    if not name.startswith('task_mix.'):
      problems.append(f'unknown config key {name}{nearest(name, table)}')
  for name, rule in table.items():
    if name not in flat:
      problems.append(f'config key {name} is missing')
    else:
      problems += _value(rule, name, flat[name])
  for name, weight in config.get('task_mix', {}).items():
    problems += _value(rules.one_of(times.KNOWN_SETS), 'task_mix', name)
    problems += _value(rules.number(0), f'task_mix.{name}', weight)
  return problems


def _value(rule, name, value):
  expected = rule(value)
  return [] if expected is None else [f'{name} is {value!r}, want {expected}']


def _flatten(tree: Mapping[str, Any], prefix=''):
  for name, value in tree.items():
    if isinstance(value, Mapping):
      yield from _flatten(value, f'{prefix}{name}.')
    else:
      yield f'{prefix}{name}', value


def _together(config):
  problems = []
  if config.dataset == 'folder' and not config.data_dir:
    problems.append(
      'dataset is folder and data_dir is empty; set --config.data_dir to a '
      'folder of videos'
    )
  if config.init_from and not build.weights_path(config.init_from).is_file():
    problems.append(
      f'init_from is {config.init_from!r}, want a weight file, one of '
      f"{', '.join(build.WEIGHTS)}, or '' to train from nothing"
    )
  return problems


def _together_denoiser(config):
  problems = _process(config) + _view(config)
  if config.data.size % config.model.patch:
    problems.append(
      f'data.size {config.data.size} is not a multiple of model.patch '
      f'{config.model.patch}'
    )
  if config.model.width % (4 * config.model.heads):
    problems.append(
      f'model.width {config.model.width} is not a multiple of 4 model.heads '
      f'({config.model.heads})'
    )
  if config.model.depth % 2:
    problems.append(
      f'model.depth {config.model.depth} is odd; half of the blocks are '
      f'spatial, half temporal'
    )
  task_mix = config.get('task_mix', {})
  if task_mix.get('first_and_last') and config.data.frames < 3:
    problems.append(
      f'data.frames is {config.data.frames}; task_mix.first_and_last leaves '
      f'nothing to learn below 3'
    )
  if not any(task_mix.values()):
    problems.append('all weights of task_mix are 0; give one at least')
  return problems


def _process(config):
  """What process, schedule, known sets and clip length refuse together."""
  problems = []
  try:
    build.make_process(config)
  except ValueError as error:
    problems.append(f'process: {error}')
  task_mix = config.get('task_mix', {})
  if config.process.name == 'bridge' and task_mix.get('none'):
    problems.append(
      'task_mix.none is set for a bridge, whose prior is made of known frames; '
      'use process.name=diffusion'
    )
  return problems


def _view(config):
  view, prediction = config.denoiser.view, config.denoiser.prediction
  if view == 'residual' and prediction in ('eps', 'psi'):
    return [
      f'denoiser.prediction is {prediction}; the residual view holds no '
      f'signal at T, where a prediction of noise says nothing'
    ]
  if view == 'aligned':
    if not config.denoiser.teacher:
      return [
        'denoiser.view is aligned and denoiser.teacher is empty; name '
        'the schedule that the teacher was trained on'
      ]
    wrong = _value(
      rules.made(processes.SCHEDULES),
      'denoiser.teacher',
      config.denoiser.teacher,
    )
    if wrong:
      return wrong
    teacher = build.make_row(config.denoiser.teacher, processes.SCHEDULES)
    entries = config.denoiser.lookup.partition(':')[0] != 'own'
    if entries and not isinstance(teacher, discrete.Discrete):
      return [
        f'denoiser.lookup is {config.denoiser.lookup!r}, which reads a table; '
        f'the teacher {config.denoiser.teacher!r} has none, so use own'
      ]
  elif config.denoiser.teacher:
    return [
      f'denoiser.teacher is {config.denoiser.teacher!r} but denoiser.view is '
      f'{view!r}; only aligned has a teacher'
    ]
  return []


def _together_reader(config):
  del config
  return []


TOGETHER = {'denoiser': _together_denoiser, 'digit_reader': _together_reader}


_TRAIN: dict[str, rules.Rule] = {
  'job': rules.one_of(build.JOBS),
  'seed': rules.integer(0),
  'dataset': rules.one_of(sources.DATASETS),
  'data_dir': rules.text,
  'cache_dir': rules.text,
  'data.world': rules.text,
  'data.size': rules.even,
  'data.frames': rules.integer(2),
  'data.stride': rules.integer(1),
  'data.train_clips': rules.integer(1),
  'data.test_clips': rules.integer(1),
  'data.num_workers': rules.integer(0),
  'codec': rules.one_of(codec.CODECS),
  'model.classes': rules.integer(0),
  'optimizer.learning_rate': rules.number(0),
  'optimizer.schedule': rules.one_of(optimizers.LEARNING_RATES),
  'optimizer.warmup_steps': rules.integer(0),
  'optimizer.weight_decay': rules.number(0),
  'optimizer.b2': rules.number(0, 1),
  'optimizer.clip_norm': rules.number(1e-6),
  'ema_decay': rules.number(0, 1),
  'init_from': rules.text,
  'init_fresh': rules.text,
  'train.num_steps': rules.integer(1),
  'train.batch_size': rules.integer(1),
  'train.log_every': rules.integer(1),
  'train.checkpoint_every': rules.integer(1),
  'train.keep': rules.integer(1),
  'train.sample_every': rules.integer(1),
  'mesh.data': rules.axis,
  'mesh.fsdp': rules.axis,
  'mesh.tensor': rules.axis,
  'mesh.frames': rules.axis,
}

# The keys of each job besides those of _TRAIN.
JOBS: dict[str, dict[str, rules.Rule]] = {
  'denoiser': {
    'process.name': rules.one_of(processes.PROCESSES),
    'process.schedule': rules.made(processes.SCHEDULES),
    'prior': rules.one_of(priors.PRIORS),
    'denoiser.prediction': rules.one_of(predictions.PREDICTIONS),
    'denoiser.view': rules.one_of([*views.VIEWS, 'aligned']),
    'denoiser.clock': rules.made(clocks.CLOCKS),
    'denoiser.teacher': rules.optional(rules.made(processes.SCHEDULES)),
    'denoiser.lookup': rules.made(saf.LOOKUPS),
    'model.name': rules.one_of(latte.MODELS),
    'model.patch': rules.integer(1),
    'model.width': rules.integer(8),
    'model.depth': rules.integer(2),
    'model.heads': rules.integer(1),
    'model.stem': rules.integer(0),
    'model.anchor': rules.flag,
    'dtype': rules.one_of(build.DTYPES),
    'times.draw': rules.made(times.DRAWS),
    'times.coin': rules.one_of(times.COINS),
    'times.t_min': rules.number(1e-6, 1.0),
    'times.p_frames': rules.number(0, 1),
    'times.p_end': rules.number(0, 1),
    'label_dropout': rules.number(0, 1),
    'loss_weight': rules.made(losses.LOSS_WEIGHTS),
  },
  'digit_reader': {
    'model.name': rules.one_of(['digit_reader']),
    'loss.noise': rules.number(0),
  },
}

_SAMPLING: dict[str, rules.Rule] = {
  'seed': rules.integer(0),
  'sampler': rules.made(samplers.SAMPLERS),
  'grid': rules.option(grids.GRIDS),
  'num_steps': rules.integer(1),
  'start_noise': rules.number(0),
  'guidance': rules.number(0),
  'guidance_rescale': rules.number(0, 1),
  'guidance_start': rules.number(0, 1),
  'guidance_stop': rules.number(0, 1),
  'guidance_history': rules.number(0),
  'fps': rules.integer(1),
  'weights': rules.text,
}

MODES: dict[str, dict[str, rules.Rule]] = {
  'sample': {
    **_SAMPLING,
    'image': rules.text,
    'label': rules.integer(-1),
    'count': rules.integer(1),
    'name': rules.text,
  },
  'evaluate': {
    **_SAMPLING,
    'num_clips': rules.integer(1),
    'num_futures': rules.integer(1),
    'batch_size': rules.integer(1),
    'num_show': rules.integer(1),
  },
  'export': {'path': rules.text, 'export_dtype': rules.one_of(build.DTYPES)},
  'report': {
    'report': rules.one_of(['run', 'process']),
    'title': rules.text,
  },
}
