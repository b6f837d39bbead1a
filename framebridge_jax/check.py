"""Config errors, all at once, before any device is touched."""

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import ml_collections

from framebridge_jax import build, denoiser
from framebridge_jax.data import codec, sources
from framebridge_jax.models import latte
from framebridge_jax.processes import (
  bridge,
  predictions,
  priors,
  schedules,
  times,
)
from framebridge_jax.samplers import grids, table
from framebridge_jax.training import optimizers

Rule = Callable[[Any], str | None]


class ConfigError(ValueError):
  """A config cannot be used; the message lists everything that is wrong."""


def check_train(config: ml_collections.ConfigDict) -> None:
  """Checks a training config.

  Raises:
    ConfigError: keys are missing, unknown or wrong, or do not go together.
  """
  job = config.get('job')
  _refuse(_value(one_of(JOBS), 'job', job))
  _refuse(_against({**_TRAIN, **JOBS[job]}, config))
  _refuse(_together(config) + TOGETHER[job](config))


def check_mode(config: ml_collections.ConfigDict, mode: str) -> None:
  """Checks the keys that a mode's recipe adds to a run's config.

  Raises:
    ConfigError: as `check_train`, for the keys of the mode alone.
  """
  rules = MODES[mode]
  missing = [name for name in rules if name not in config]
  if missing:
    raise ConfigError(
      f'the config lacks {", ".join(missing)}, which --mode={mode} needs; '
      f'leave --config out to get the recipe of the mode'
    )
  _refuse(
    [
      problem
      for name, rule in rules.items()
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


def _against(rules, config):
  flat = dict(_flatten(config.to_dict()))
  problems = []
  for name in sorted(flat.keys() - rules.keys()):
    if not name.startswith('task_mix.'):
      problems.append(f'unknown config key {name}{nearest(name, rules)}')
  for name, rule in rules.items():
    if name not in flat:
      problems.append(f'config key {name} is missing')
    else:
      problems += _value(rule, name, flat[name])
  for name, weight in config.get('task_mix', {}).items():
    problems += _value(one_of(times.KNOWN_SETS), 'task_mix', name)
    problems += _value(number(0), f'task_mix.{name}', weight)
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


def _together_bridge(config):
  problems = []
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
  if config.denoiser.view == 'residual' and config.denoiser.prediction != 'x0':
    problems.append(
      f'denoiser.prediction is {config.denoiser.prediction}; the residual view '
      f'holds no signal at T, where only x0 says something'
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


def _together_reader(config):
  del config
  return []


TOGETHER = {'bridge': _together_bridge, 'digit_reader': _together_reader}


def one_of(table: Iterable[str]) -> Rule:
  """A name of a table."""
  return lambda x: None if x in table else f'one of {", ".join(table)}'


def integer(least: int) -> Rule:
  """A whole number of at least `least`."""
  return lambda x: (
    None
    if isinstance(x, int) and not isinstance(x, bool) and x >= least
    else f'a whole number of at least {least}'
  )


def number(least: float, most: float = float('inf')) -> Rule:
  """A number in [least, most]."""
  bounds = (
    f'of at least {least}' if most == float('inf') else f'in [{least}, {most}]'
  )
  return lambda x: (
    None
    if isinstance(x, int | float)
    and not isinstance(x, bool)
    and least <= x <= most
    else f'a number {bounds}'
  )


def text(x: Any) -> str | None:
  """Any text."""
  return None if isinstance(x, str) else 'a text'


def axis(x: Any) -> str | None:
  """Devices along an axis of the mesh; -1 takes what is left."""
  fits = isinstance(x, int) and (x == -1 or x >= 1)
  return None if fits else 'a whole number of at least 1, or -1'


def even(x: Any) -> str | None:
  """A side that every video format can hold."""
  fits = isinstance(x, int) and x >= 2 and x % 2 == 0
  return None if fits else 'an even number of at least 2'


def flag(x: Any) -> str | None:
  """True or False."""
  return None if isinstance(x, bool) else 'True or False'


_TRAIN: dict[str, Rule] = {
  'job': one_of(build.JOBS),
  'seed': integer(0),
  'dataset': one_of(sources.DATASETS),
  'data_dir': text,
  'cache_dir': text,
  'data.world': text,
  'data.size': even,
  'data.frames': integer(2),
  'data.stride': integer(1),
  'data.train_clips': integer(1),
  'data.test_clips': integer(1),
  'data.num_workers': integer(0),
  'codec': one_of(codec.CODECS),
  'model.classes': integer(0),
  'optimizer.learning_rate': number(0),
  'optimizer.schedule': one_of(optimizers.LEARNING_RATES),
  'optimizer.warmup_steps': integer(0),
  'optimizer.weight_decay': number(0),
  'optimizer.b2': number(0, 1),
  'optimizer.clip_norm': number(1e-6),
  'ema_decay': number(0, 1),
  'init_from': text,
  'init_fresh': text,
  'train.num_steps': integer(1),
  'train.batch_size': integer(1),
  'train.log_every': integer(1),
  'train.checkpoint_every': integer(1),
  'train.keep': integer(1),
  'train.sample_every': integer(1),
  'mesh.data': axis,
  'mesh.fsdp': axis,
  'mesh.tensor': axis,
  'mesh.frames': axis,
}

# The keys of each job besides those of _TRAIN.
JOBS: dict[str, dict[str, Rule]] = {
  'bridge': {
    'process.name': one_of(bridge.PROCESSES),
    'process.schedule': one_of(schedules.SCHEDULES),
    'process.b0': number(1e-6),
    'process.b1': number(1e-6),
    'prior': one_of(priors.PRIORS),
    'denoiser.prediction': one_of(predictions.PREDICTIONS),
    'denoiser.view': one_of(denoiser.VIEWS),
    'denoiser.clock_scale': number(1e-6),
    'model.name': one_of(latte.MODELS),
    'model.patch': integer(1),
    'model.width': integer(8),
    'model.depth': integer(2),
    'model.heads': integer(1),
    'model.stem': integer(0),
    'model.anchor': flag,
    'dtype': one_of(build.DTYPES),
    'times.t_min': number(1e-6, 1.0),
    'times.p_frames': number(0, 1),
    'times.p_end': number(0, 1),
    'label_dropout': number(0, 1),
    'loss.floor': number(0),
    'loss.most': number(1e-6),
  },
  'digit_reader': {
    'model.name': one_of(['digit_reader']),
    'loss.noise': number(0),
  },
}

_SAMPLING: dict[str, Rule] = {
  'seed': integer(0),
  'sampler': one_of(table.SAMPLERS),
  'grid': one_of(grids.GRIDS),
  'num_steps': integer(1),
  'guidance': number(0),
  'fps': integer(1),
  'weights': text,
}

MODES: dict[str, dict[str, Rule]] = {
  'sample': {
    **_SAMPLING,
    'image': text,
    'label': integer(-1),
    'count': integer(1),
    'name': text,
  },
  'evaluate': {
    **_SAMPLING,
    'num_clips': integer(1),
    'num_futures': integer(1),
    'batch_size': integer(1),
    'num_show': integer(1),
  },
  'export': {'path': text, 'export_dtype': one_of(build.DTYPES)},
  'report': {'title': text},
}
