"""Where a config got its values: a line of the recipe, or an argument.

A recipe is read as text, with `ast`, and what it calls is not followed.  A key
that a shared function sets has no place, and so nothing is said about it.
"""

import ast
import pathlib
import re
from collections.abc import Iterator, Sequence

import ml_collections

from framebridge_jax.cli import configs

_FLAG = re.compile(r'--?(?:no)?config\.([^=]+)')
# A sentence about a key begins with it; a key with a dot is no other word.
_SUBJECT = re.compile(r'^(unknown config key )?([\w.]*)')
_DOTTED = re.compile(r'\b\w+(?:\.\w+)+\b')


def located(
  problem: str,
  *,
  recipe: str | None,
  argv: Sequence[str],
  config: ml_collections.ConfigDict,
) -> str:
  """The sentence with the places of the keys that it names, in brackets.

  Args:
    problem: a sentence of a ConfigError.
    recipe: `file.py` or `file.py:argument`; None: the package's own.
    argv: the overrides.
    config: what came of both.
  """
  values = dict(configs.flatten(config))
  ((unknown, subject),) = _SUBJECT.findall(problem)
  names = [subject] if unknown else [subject, *_DOTTED.findall(problem)]
  places = {}
  for name in dict.fromkeys(names):
    place = _argument(name, argv) or _line(name, recipe, values)
    if place:
      places[name] = place
  if not places:
    return problem
  if list(places) == names[:1]:
    return f'{problem} ({places[names[0]]})'
  said = ', '.join(f'{name} by {place}' for name, place in places.items())
  return f'{problem} ({said})'


def _argument(name, argv):
  """The last override of the key, or of one of its section."""
  found = [
    word
    for word in argv
    if (match := _FLAG.match(word)) and f'{match[1]}.'.startswith(f'{name}.')
  ]
  return found[-1] if found else ''


def _line(name, recipe, values):
  """`file.py:41` where the recipe gives the key the value that it has."""
  path, *_ = (recipe or '').partition(':')
  if not pathlib.Path(path).is_file():
    return ''
  lines = [
    f'{line}'
    for key, line, value in _assignments(path)
    if key == name and (value is _ANY or values.get(name, _ANY) == value)
  ]
  return f'{path}:{" or ".join(lines)}' if lines else ''


def _assignments(path):
  """All (key, line, value) that a recipe's text sets."""
  tree = ast.parse(pathlib.Path(path).read_text('utf-8'))
  return [
    found
    for node in ast.walk(tree)
    if isinstance(node, ast.Assign)
    for target in node.targets
    for found in _set_by(_dotted(target), target.lineno, node.value)
  ]


def _set_by(key: str, line: int, value: ast.expr) -> Iterator[tuple]:
  """The key itself, and every key of a dictionary that it is set to."""
  if not key:
    return
  yield key, line, _literal(value)
  if isinstance(value, ast.Dict):
    for name, item in zip(value.keys, value.values, strict=True):
      if isinstance(name, ast.Constant):
        yield from _set_by(f'{key}.{name.value}', name.lineno, item)


def _dotted(target):
  """`data.size` of `config.data.size` and `config['data']['size']`."""
  match target:
    case ast.Attribute(ast.Name(), name):
      return name
    case ast.Subscript(ast.Name(), ast.Constant(str(name))):
      return name
    case ast.Attribute(inner, name):
      pass
    case ast.Subscript(inner, ast.Constant(str(name))):
      pass
    case _:
      return ''
  before = _dotted(inner)
  return f'{before}.{name}' if before else ''


def _literal(value):
  try:
    return _ANY if isinstance(value, ast.Dict) else ast.literal_eval(value)
  except (ValueError, TypeError):
    return _ANY


_ANY = object()  # a section, or a value that only running the recipe tells
