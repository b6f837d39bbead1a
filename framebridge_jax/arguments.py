"""Text that names a thing and sets its options: `name:key=value,other=value`.

`--config=file.py:argument` and the config keys that choose a row of a table
(`--config.sampler=dbim:eta=0.5`) are read by the same rules.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any


def parse_arg(arg: str | None, **defaults):
  """Reads `name=value,other=value` into the types of the defaults.

  A bare `name` turns a boolean on.

  Raises:
    ValueError: a name is unknown or a value is not of its default's type.
  """
  values = dict(defaults)
  for item in filter(None, (arg or '').split(',')):
    name, _, text = item.partition('=')
    if name not in defaults:
      known = ', '.join(defaults) or 'there are none'
      raise ValueError(f'argument {name!r} is unknown; known: {known}')
    values[name] = _parse(name, text, type(defaults[name]))
  return values


def parse_row(
  text: str, table: Mapping[str, Callable[..., Any]]
) -> tuple[Callable[..., Any], dict[str, Any]]:
  """A row of a table and the options that the text gives it.

  Options are the row's keyword arguments with a number, a text or a truth
  value for their default.

  Raises:
    ValueError: the row or an option is unknown, or a value has no such type.
  """
  name, _, arg = text.partition(':')
  if name not in table:
    raise ValueError(f'{name!r} is unknown; known: {", ".join(table)}')
  defaults = options_of(table[name])
  try:
    chosen = parse_arg(arg, **defaults)
  except ValueError as error:
    raise ValueError(f'{name}: {error}') from None
  return table[name], {
    key: value for key, value in chosen.items() if value != defaults[key]
  }


def options_of(row: Callable[..., Any]) -> dict[str, Any]:
  """The options of a row with their defaults."""
  fixed = getattr(row, 'keywords', {})  # of functools.partial
  return {
    name: parameter.default
    for name, parameter in inspect.signature(row).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY
    and isinstance(parameter.default, bool | int | float | str)
    and name not in fixed
  }


def _parse(name, text, kind):
  if kind is bool:
    words = {'': True, 'true': True, 'false': False}
    if text.lower() not in words:
      raise ValueError(f'argument {name}={text}: want true or false')
    return words[text.lower()]
  try:
    return kind(text)
  except ValueError:
    raise ValueError(f'argument {name}={text}: want {kind.__name__}') from None
