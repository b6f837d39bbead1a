"""Which config a mode gets: a recipe, a run's own config, overrides."""

import importlib.util
import pathlib
from collections.abc import Iterator
from typing import Any

import ml_collections
from etils import epath

from framebridge_jax import check, saved

# Their config says whether they need a run; they look for it themselves.
WITHOUT_RUN = ('report', 'evaluate')
ALONE = ('port', 'embed', 'data', 'encode', 'doctor')  # they read no run

RECIPES = pathlib.Path(__file__).parents[1] / 'recipes'


def for_mode(
  mode: str, recipe: str | None, workdir: epath.PathLike
) -> ml_collections.ConfigDict:
  """The config of a mode before overrides.

  Training takes the recipe as it is; planning adds its own keys to a training's
  recipe, or to the run in the workdir.  Every other mode takes the keys of its
  recipe (the package's own when none is named) and the rest from the run in
  the workdir.  A mode of WITHOUT_RUN is content with its recipe, and one of
  ALONE takes nothing else.

  Raises:
    ValueError: the recipe cannot be read, or the workdir holds no run and the
      mode needs one.
  """
  workdir = epath.Path(workdir)
  if mode == 'train':
    if recipe is None:
      raise ValueError(
        'training needs a config: --config=configs/quickstart.py'
      )
    return load_recipe(recipe)
  if mode == 'plan':
    return _for_plan(recipe, workdir)
  own = load_recipe(recipe or str(RECIPES / f'{mode}.py'))
  run = (workdir / saved.CONFIG).is_file()
  if mode in ALONE or (mode in WITHOUT_RUN and not run):
    return own
  config = ml_collections.ConfigDict(saved.load_config(workdir))
  config.update(own)
  return config


def _for_plan(recipe, workdir):
  config = (
    load_recipe(recipe).unlock()
    if recipe
    else ml_collections.ConfigDict(saved.load_config(workdir))
  )
  config.update(load_recipe(str(RECIPES / 'plan.py')))
  return config.lock()


def load_recipe(recipe: str) -> ml_collections.ConfigDict:
  """Calls `get_config` of `file.py` or `file.py:argument`.

  Raises:
    ValueError: there is no such file, it is no recipe, or the argument is
      refused.
  """
  name, _, argument = recipe.partition(':')
  path = pathlib.Path(name)
  if not path.is_file():
    raise ValueError(f'no config file at {path}; see configs/ for recipes')
  spec = importlib.util.spec_from_file_location(path.stem, path)
  if spec is None or spec.loader is None:
    raise ValueError(f'config file {path} is not a Python file')
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  if not hasattr(module, 'get_config'):
    raise ValueError(f'config file {path} has no get_config()')
  config = module.get_config(argument) if argument else module.get_config()
  return config.lock()


def explain_unknown(argv: list[str], config: ml_collections.ConfigDict) -> str:
  """Names the first override whose key the config does not have."""
  known = {name for name, _ in flatten(config)}
  for argument in argv[1:]:
    name = argument.lstrip('-').partition('=')[0]
    if name.startswith('config.') and name[len('config.') :] not in known:
      key = name[len('config.') :]
      hint = check.nearest(key, known)
      return f'unknown config key {key}{hint} ({argument})'
  return f'cannot set the config from {" ".join(argv[1:])}'


def flatten(
  config: ml_collections.ConfigDict, prefix: str = ''
) -> Iterator[tuple[str, Any]]:
  """Dotted names and values of a config's leaves."""
  for name, value in config.items():
    if isinstance(value, ml_collections.ConfigDict):
      yield from flatten(value, f'{prefix}{name}.')
    else:
      yield f'{prefix}{name}', value
