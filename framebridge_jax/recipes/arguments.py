"""Reads the argument behind `--config=file.py:argument`."""


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
      raise ValueError(
        f'config argument {name!r} is unknown; known: {", ".join(defaults)}'
      )
    values[name] = _parse(name, text, type(defaults[name]))
  return values


def _parse(name, text, kind):
  if kind is bool:
    words = {'': True, 'true': True, 'false': False}
    if text.lower() not in words:
      raise ValueError(f'config argument {name}={text}: want true or false')
    return words[text.lower()]
  try:
    return kind(text)
  except ValueError:
    raise ValueError(
      f'config argument {name}={text}: want {kind.__name__}'
    ) from None
