"""What a value of a config may be.

A rule gives None for a good value, and otherwise what was expected, to follow
"want".
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from framebridge_jax import arguments

Rule = Callable[[Any], str | None]


def one_of(table: Iterable[str]) -> Rule:
  """A name of a table."""
  return lambda x: (
    None if isinstance(x, str) and x in table else f'one of {", ".join(table)}'
  )


def option(table: Mapping[str, Callable[..., Any]]) -> Rule:
  """A name of a table with options: `name:key=value,other=value`."""
  return lambda x: _refusal(x, table, lambda row, options: None)


def made(table: Mapping[str, Callable[..., Any]]) -> Rule:
  """As `option`, of rows that options alone make and that may refuse them."""
  return lambda x: _refusal(x, table, lambda row, options: row(**options))


def _refusal(x, table, make):
  if not isinstance(x, str) or x.partition(':')[0] not in table:
    return f'one of {", ".join(table)}'
  try:
    make(*arguments.parse_row(x, table))
  except ValueError as error:
    return f'other options ({error})'
  return None


def optional(rule: Rule) -> Rule:
  """As the rule, or an empty text."""
  return lambda x: None if x == '' else rule(x)


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


def regex(x: Any) -> str | None:
  """A regular expression; '' is one too."""
  try:
    re.compile(x)
  except TypeError:
    return 'a regular expression as text'
  except re.error as error:
    return f'a regular expression ({error})'
  return None


def numbers(least: float, most: float) -> Rule:
  """One number or more, all different, each in [least, most]."""
  one = number(least, most)

  def rule(x):
    fits = isinstance(x, tuple | list) and len(x) == len(set(x)) > 0
    if fits and all(one(value) is None for value in x):
      return None
    return f'one or more different numbers in [{least}, {most}]'

  return rule


def texts(x: Any) -> str | None:
  """One text or more, all different."""
  fits = isinstance(x, tuple | list) and len(x) == len(set(x)) > 0
  if fits and all(isinstance(value, str) and value for value in x):
    return None
  return 'one or more different texts'


def some_texts(x: Any) -> str | None:
  """Texts, all different, or none."""
  return None if x == () or x == [] else texts(x) and '() or different texts'


def names_of(table: Iterable[str]) -> Rule:
  """Any number of different names of a table."""
  known = f'() or different ones of {", ".join(table)}'
  return lambda x: (
    None
    if isinstance(x, tuple | list)
    and len(x) == len(set(x))
    and all(name in table for name in x)
    else known
  )


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


def sides(x: Any) -> str | None:
  """Frames, rows and columns of a grid, or nothing."""
  fits = isinstance(x, tuple | list) and len(x) in (0, 3)
  whole = integer(1)
  if fits and all(whole(side) is None for side in x):
    return None
  return '() or three whole numbers of at least 1'
