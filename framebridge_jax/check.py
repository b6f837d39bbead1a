"""Config errors, all at once, before any device is touched."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

import ml_collections

from framebridge_jax import contradictions, keys, rules
from framebridge_jax.models import latte
from framebridge_jax.processes import times


class ConfigError(ValueError):
  """A config cannot be used; the message lists everything that is wrong.

  Attributes:
    problems: one sentence each.
  """

  def __init__(self, *problems: str):
    super().__init__('; '.join(problems))
    self.problems = problems


def check_train(config: ml_collections.ConfigDict) -> None:
  """Checks a training config.

  Raises:
    ConfigError: keys are missing, unknown or wrong, or do not go together.
  """
  _check_keys(config)
  _refuse(contradictions.find(config))


def check_program(config: ml_collections.ConfigDict) -> None:
  """Checks a training config that is compiled and not run: no file is read.

  Raises:
    ConfigError: as `check_train`.
  """
  _check_keys(config)
  _refuse(contradictions.of_program(config))


def _check_keys(config):
  job = config.get('job')
  _refuse(_value(rules.one_of(keys.JOBS), 'job', job))
  table = {**keys.TRAIN, **keys.JOBS[job]}
  _refuse(list(_hollow(table, config)))
  for key in keys.NETWORKS.get(job, ()):
    if key == 'model' or key in config:
      table |= _network(config, key)
  _refuse(_against(table, config))


def check_model(config: ml_collections.ConfigDict) -> None:
  """Checks the keys that make a model, in the config of trained weights.

  Raises:
    ConfigError: keys are missing or wrong; others than these do not matter.
  """
  table = {name: keys.TRAIN[name] for name in keys.CLIPS}
  table |= keys.JOBS['denoiser']
  _refuse(list(_hollow(table, config)))
  for key in keys.NETWORKS['denoiser']:
    if key == 'model' or key in config:
      table |= _network(config, key)
  flat = dict(_flatten(config.to_dict()))
  _refuse(_lacking(table, flat))


def check_values(values: Mapping[str, Any], mode: str) -> None:
  """Checks values of a mode's keys, however they were given.

  Raises:
    ConfigError: a key is unknown, or its value wrong.
  """
  table = keys.MODES[mode]
  unknown = [name for name in values if name not in table]
  _refuse([f'{name} is unknown{nearest(name, table)}' for name in unknown])
  _refuse(_lacking({name: table[name] for name in values}, values))


def check_mode(config: ml_collections.ConfigDict, mode: str) -> None:
  """Checks the keys that a mode's recipe adds to a run's config.

  Raises:
    ConfigError: as `check_train`, for the keys of the mode alone.
  """
  table = keys.MODES[mode]
  flat = dict(_flatten(config.to_dict()))
  missing = [name for name in table if name not in flat]
  if missing:
    raise ConfigError(
      f'the config lacks {", ".join(missing)}, which --mode={mode} needs; '
      f'leave --config out to get the recipe of the mode'
    )
  _refuse(
    [
      problem
      for name, rule in table.items()
      for problem in _value(rule, name, flat[name])
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
    raise ConfigError(*problems)


def _against(table, config):
  flat = dict(_flatten(config.to_dict()))
  problems = []
  known = table.keys() | {f'model.{name}' for name in keys.LATTE}
  for name in sorted(flat.keys() - table.keys()):
    if not name.startswith('task_mix.'):
      problems.append(f'unknown config key {name}{nearest(name, known)}')
  problems += _lacking(table, flat)
  for name, weight in config.get('task_mix', {}).items():
    problems += _value(rules.number(0), f'task_mix.{name}', weight)
    if name not in times.KNOWN_SETS:
      hint = nearest(name, times.KNOWN_SETS)
      problems.append(f'unknown config key task_mix.{name}{hint}')
  return problems


def _lacking(table, flat):
  """What is missing of a table, or not as its rules want it."""
  problems = []
  for name, rule in table.items():
    if name not in flat:
      problems.append(f'config key {name} is missing')
    else:
      problems += _value(rule, name, flat[name])
  return problems


def _hollow(table, config):
  """Sections that a recipe set to one value."""
  sections = {name.partition('.')[0] for name in table if '.' in name}
  for name in sorted(sections | {'model', 'prior_model', 'task_mix'}):
    value = config.get(name, ml_collections.ConfigDict())
    if not isinstance(value, ml_collections.ConfigDict):
      yield f'{name} is {value!r}, want a section: config.{name} = {{...}}'


def _network(config, key):
  """Rules for the options that a network is given, and for those it needs."""
  options = config.get(key, {})
  row = latte.MODELS.get(options.get('name'), latte.Latte)
  fixed = getattr(row, 'keywords', {})
  return {f'{key}.name': rules.one_of(latte.MODELS)} | {
    f'{key}.{name}': rule
    for name, rule in keys.LATTE.items()
    if name not in fixed and (name in options or name in keys.LATTE_NEEDS)
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
