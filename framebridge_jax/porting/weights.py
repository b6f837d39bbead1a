"""Weights as one safetensors file that carries its own config.

Names are the parameters' paths joined by `/`; bfloat16 halves the file and
costs 3 significant digits.  The config travels in the file's metadata, so that
a weight file alone rebuilds its model.
"""

import contextlib
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from etils import epath
from flax import traverse_util

from framebridge_jax import files, version
from framebridge_jax.porting import readers


class Weights(NamedTuple):
  """Parameters as a nested dict, and the config they were trained with.

  `tables` are arrays of a ported checkpoint that the model computes itself.
  """

  params: dict[str, Any]
  config: dict[str, Any]
  tables: dict[str, np.ndarray]


class Fitted(NamedTuple):
  """A model's parameters, and the names of those that stayed as they were."""

  params: dict[str, Any]
  kept: list[str]


class WeightsError(ValueError):
  """A weight file cannot be read, or does not fit the model."""


def save(
  path: epath.PathLike,
  params: Mapping[str, Any],
  config: Mapping[str, Any],
  *,
  dtype: jax.typing.DTypeLike,
  facts: Mapping[str, str],
  tables: Mapping[str, np.ndarray] | None = None,
) -> None:
  """Writes parameters, cast to `dtype`, their config and facts about them.

  Arrays that are of the dtype already are not copied.
  """
  flat = traverse_util.flatten_dict(params, sep='/')
  arrays = {
    name: np.ascontiguousarray(np.asarray(x).astype(dtype, copy=False))
    for name, x in flat.items()
  }
  arrays |= {_TABLES + name: x for name, x in (tables or {}).items()}
  metadata = {
    'config': json.dumps(config),
    'version': version.__version__,
    **facts,
  }
  epath.Path(path).parent.mkdir(parents=True, exist_ok=True)
  with files.replacing(path) as part:
    safetensors.numpy.save_file(arrays, part, metadata)


def load(
  path: epath.PathLike, *, dtype: jax.typing.DTypeLike | None = jnp.float32
) -> Weights:
  """Reads a file that `save` wrote.

  Args:
    path: the file.
    dtype: of the arrays; None leaves them as they are stored.

  Raises:
    WeightsError: the file is missing, damaged, or without a config.
  """
  with _opened(path) as file:
    config = _config(file, path)
    flat, tables = {}, {}
    for name in file.specs:
      if name.startswith(_TABLES):
        tables[name.removeprefix(_TABLES)] = file.read(name)
      else:  # one at a time: a copy of all would be twice the file
        flat[name] = jnp.asarray(file.read(name), dtype)
  return Weights(traverse_util.unflatten_dict(flat, sep='/'), config, tables)


def config_of(path: epath.PathLike) -> dict[str, Any]:
  """The config of a file that `save` wrote; no array is read.

  Raises:
    WeightsError: as `load`.
  """
  with _opened(path) as file:
    return _config(file, path)


@contextlib.contextmanager
def _opened(path):
  if not epath.Path(path).is_file():
    raise WeightsError(f'no weight file at {path}')
  try:
    with (
      files.at_hand(path) as local,
      readers.open_safetensors(local) as file,
    ):
      yield file
  except WeightsError:
    raise
  except ValueError as error:
    raise WeightsError(
      f'{path} is not a whole safetensors file: {error}'
    ) from None


def _config(file, path):
  if 'config' not in file.metadata:
    raise WeightsError(
      f'{path} carries no config of framebridge_jax; it holds '
      f'{len(file.specs)} arrays of another program'
    )
  try:
    return dict(json.loads(file.metadata['config']))
  except (ValueError, TypeError, RecursionError):
    raise WeightsError(f'the config in {path} cannot be read') from None


def fit(
  source: Mapping[str, Any], target: Mapping[str, Any], *, fresh: str
) -> Fitted:
  """Fills a parameter tree from another one, strictly.

  Parameters whose name matches the regex `fresh` may be missing or of another
  shape; they keep the target's values.

  Args:
    source: parameters to take.
    target: parameters of the model, as initialised.
    fresh: regex searched in a parameter's `/`-joined name; '' matches none.

  Raises:
    WeightsError: names or shapes differ otherwise; all differences are listed.
  """
  flat_source = traverse_util.flatten_dict(source, sep='/')
  flat_target = traverse_util.flatten_dict(target, sep='/')
  may_differ = re.compile(fresh).search if fresh else lambda name: None
  problems, kept, filled = [], [], {}
  for name, old in flat_target.items():
    new = flat_source.get(name)
    shape = None if new is None else np.shape(new)
    if shape == old.shape:
      filled[name] = new
    elif may_differ(name):
      filled[name] = old
      kept.append(name)
    else:
      problems.append(f'{name}: model {old.shape}, weights {shape or "none"}')
  unused = [
    name
    for name in flat_source
    if name not in flat_target and not may_differ(name)
  ]
  problems += [f'{name}: not in the model' for name in unused]
  if problems:
    listed = '; '.join(problems[:20])
    raise WeightsError(
      f'{len(problems)} parameters do not fit the model: {listed}'
    )
  return Fitted(traverse_util.unflatten_dict(filled, sep='/'), kept)


def digest(params: Mapping[str, Any]) -> str:
  """SHA-256 of names, shapes and float32 numbers, in the order of names.

  The same for any file that holds these parameters at full precision.
  """
  total = hashlib.sha256()
  for name, x in sorted(traverse_util.flatten_dict(params, sep='/').items()):
    array = np.ascontiguousarray(np.asarray(x, np.float32))
    total.update(f'{name} {array.shape} '.encode())
    total.update(array.data)
  return total.hexdigest()


def count(params: Any) -> int:
  """Number of parameters."""
  return sum(x.size for x in jax.tree.leaves(params))


_TABLES = 'tables/'
