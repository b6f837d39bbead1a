"""Config errors, all at once, before any device is touched."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

import ml_collections

from framebridge_jax import build, contradictions, rules
from framebridge_jax.data import codec, sources
from framebridge_jax.models import attention, latte
from framebridge_jax.porting import latte as latte_rows
from framebridge_jax.processes import (
  clocks,
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
  table = {**_TRAIN, **JOBS[job]}
  for key in _NETWORKS.get(job, ()):
    if key == 'model' or key in config:
      table |= _network(config, key)
  _refuse(_against(table, config))
  _refuse(contradictions.find(config))


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
  known = table.keys() | {f'model.{name}' for name in _LATTE}
  for name in sorted(flat.keys() - table.keys()):
    if not name.startswith('task_mix.'):
      problems.append(f'unknown config key {name}{nearest(name, known)}')
  for name, rule in table.items():
    if name not in flat:
      problems.append(f'config key {name} is missing')
    else:
      problems += _value(rule, name, flat[name])
  for name, weight in config.get('task_mix', {}).items():
    problems += _value(rules.one_of(times.KNOWN_SETS), 'task_mix', name)
    problems += _value(rules.number(0), f'task_mix.{name}', weight)
  return problems


def _network(config, key):
  """Rules for the options that a network is given, and for those it needs."""
  options = config.get(key, {})
  row = latte.MODELS.get(options.get('name'), latte.Latte)
  fixed = getattr(row, 'keywords', {})
  return {f'{key}.name': rules.one_of(latte.MODELS)} | {
    f'{key}.{name}': rule
    for name, rule in _LATTE.items()
    if name not in fixed and (name in options or name in _LATTE_NEEDS)
  }


def _value(rule, name, value):
  expected = rule(value)
  return [] if expected is None else [f'{name} is {value!r}, want {expected}']


def _flatten(tree: Mapping[str, Any], prefix=''):
  for name, value in tree.items():
    if isinstance(value, Mapping):
      yield from _flatten(value, f'{prefix}{name}.')
    else:
      yield f'{prefix}{name}', value


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
  'codec': rules.made(codec.CODECS),
  'optimizer.learning_rate': rules.number(0),
  'optimizer.schedule': rules.one_of(optimizers.LEARNING_RATES),
  'optimizer.warmup_steps': rules.integer(0),
  'optimizer.weight_decay': rules.number(0),
  'optimizer.b2': rules.number(0, 1),
  'optimizer.clip_norm': rules.number(1e-6),
  'optimizer.freeze': rules.text,
  'ema_decay': rules.number(0, 1),
  'init_from': rules.text,
  'init_fresh': rules.text,
  'init_surgery': rules.flag,
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

_LATTE_NEEDS = ('patch', 'width', 'depth', 'heads')
_LATTE: dict[str, rules.Rule] = {
  'patch': rules.integer(1),
  'width': rules.integer(8),
  'depth': rules.integer(2),
  'heads': rules.integer(1),
  'classes': rules.integer(build.AS_FOUND),
  'text_width': rules.integer(0),
  'timed': rules.flag,
  'learned_variance': rules.flag,
  'prior': rules.flag,
  'image_frame': rules.flag,
  'stride': rules.flag,
  'trained_grid': rules.sides,
  'stem': rules.integer(0),
  'anchor': rules.flag,
  'scan': rules.flag,
  'remat': rules.one_of(latte.REMATS),
  'attention': rules.one_of(attention.ATTENTIONS),
}

# Which keys of a job's config hold networks.
_NETWORKS = {
  'denoiser': ('model', 'prior_model'),
  'neural_prior': ('model',),
}

# The keys of each job besides those of _TRAIN.
JOBS: dict[str, dict[str, rules.Rule]] = {
  'denoiser': {
    'process.name': rules.one_of(processes.PROCESSES),
    'process.schedule': rules.made(processes.SCHEDULES),
    'prior': rules.one_of([*priors.PRIORS, build.NEURAL]),
    'prior_from': rules.text,
    'hold_given': rules.flag,
    'denoiser.shown': rules.one_of(['', *priors.PRIORS, build.NEURAL]),
    'denoiser.prediction': rules.one_of(predictions.PREDICTIONS),
    'denoiser.view': rules.one_of([*views.VIEWS, 'aligned']),
    'denoiser.clock': rules.made(clocks.CLOCKS),
    'denoiser.teacher': rules.optional(rules.made(processes.SCHEDULES)),
    'denoiser.lookup': rules.made(saf.LOOKUPS),
    'dtype': rules.one_of(build.DTYPES),
    'times.draw': rules.made(times.DRAWS),
    'times.coin': rules.one_of(times.COINS),
    'times.t_min': rules.number(1e-6, 1.0),
    'times.p_frames': rules.number(0, 1),
    'times.p_end': rules.number(0, 1),
    'label_dropout': rules.number(0, 1),
    'loss_weight': rules.made(losses.LOSS_WEIGHTS),
  },
  'neural_prior': {
    'dtype': rules.one_of(build.DTYPES),
    'label_dropout': rules.number(0, 1),
  },
  'digit_reader': {
    'model.classes': rules.integer(build.AS_FOUND),
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
  'port': {
    'checkpoint': rules.text,
    'state': rules.text,
    'model': rules.text,
    'frames': rules.integer(1),
    'channels': rules.integer(1),
    'export_dtype': rules.one_of(build.DTYPES),
    'back': rules.flag,
    'layout': rules.one_of(latte_rows.LAYOUTS),
  },
  'report': {
    'report': rules.one_of(['run', 'process']),
    'title': rules.text,
  },
}
