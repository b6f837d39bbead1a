"""What the networks that can be ported have in common."""

import json
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
from flax import traverse_util

from framebridge_jax.porting import readers, rules

Specs = Mapping[str, readers.Spec]
Rows = list[rules.Row]


class Found(NamedTuple):
  """What a checkpoint's names and shapes say.

  Attributes:
    options: of the network, as far as the row of PORTS leaves them open.
    layout: how the project names its tensors; a word of the family's own.
    facts: what `rows` and `shapes` want to know besides the network.
    skipped: tensors beside the network, which are passed over.
  """

  options: dict[str, Any]
  layout: str
  facts: Mapping[str, Any] = {}
  skipped: tuple[str, ...] = ()


class Family(NamedTuple):
  """A kind of network that can be ported.

  Attributes:
    network: makes it of a row's name and options.
    look: `look(specs, size, said)` finds the rest; `size` are the row's
      options, `said` are `frames` and `channels` of the clip.
    rows: `rows(network, layout, **facts)` is its table of tensors.
    shapes: `shapes(network, **facts)` of its parameters, by path.
    judge_config: `judge_config(path, size)` compares what the project wrote
      beside the checkpoint with the row.
  """

  network: Callable[..., nn.Module]
  look: Callable[[Specs, Mapping[str, Any], Mapping[str, Any]], Found]
  rows: Callable[..., Rows]
  shapes: Callable[..., dict[str, tuple[int, ...]]]
  judge_config: Callable[[pathlib.Path, Mapping[str, Any]], None]


def no_config(path: pathlib.Path, size: Mapping[str, Any]) -> None:
  """For families whose shapes say all."""
  del path, size


def judge_size(size: Mapping[str, Any], seen: Mapping[str, Any]) -> None:
  """Compares what a row of PORTS says with what the shapes say.

  Raises:
    rules.PortError: they differ; it says in what.
  """
  for name, value in seen.items():
    if size.get(name, value) != value:
      raise rules.PortError(
        f'the checkpoint has {name} {value}, the model {size[name]}'
      )


def shape_of(specs: Specs, name: str, axes: str) -> tuple[int, ...]:
  """Shape of a tensor that must be there with as many axes.

  Raises:
    rules.PortError: it is missing, or has others.
  """
  spec = specs.get(name)
  fits = spec is not None and len(spec.shape) == len(axes.split())
  if not fits or 0 in spec.shape:
    held = 'is missing' if spec is None else f'has the shape {spec.shape}'
    raise rules.PortError(f'{name} {held}, want [{axes}]')
  return spec.shape


def hashable(options: Mapping[str, Any]) -> dict[str, Any]:
  """Options as a frozen network wants them, of which JSON made lists."""
  return {
    key: tuple(value) if isinstance(value, list) else value
    for key, value in options.items()
  }


def config_beside(path: pathlib.Path) -> dict[str, Any]:
  """The `config.json` that its project wrote beside a checkpoint, or nothing.

  Args:
    path: the checkpoint, or the folder that it is in.

  Raises:
    rules.PortError: it cannot be read.
  """
  file = (path if path.is_dir() else path.parent) / 'config.json'
  if not file.is_file():
    return {}
  try:
    config = json.loads(file.read_bytes())
  except (ValueError, RecursionError):
    config = None
  if not isinstance(config, dict):
    raise rules.PortError(f'{file} is no config of a model')
  return config


def judge_said(said: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
  """Compares what a project's config says with what the model is.

  Shapes do not say which activation a network has, nor how many heads.

  Raises:
    rules.PortError: they differ; it says in what.
  """
  for name, value in wanted.items():
    if said.get(name, value) != value:
      raise rules.PortError(
        f'the config.json beside the checkpoint has {name} {said[name]}, the '
        f'model {value}; choose a model that has what the checkpoint has'
      )


def beside(specs: Iterable[str], prefix: str, passed: tuple[str, ...]) -> tuple:
  """Names without the prefix, or that go on with one of `passed` behind it."""
  return tuple(
    name
    for name in specs
    if not name.startswith(prefix)
    or name.removeprefix(prefix).startswith(passed)
  )


def shapes_of(init: Callable[..., Any], *args) -> dict[str, tuple[int, ...]]:
  """Shapes of what `init(key, *args)` makes by path, without making it."""
  tree = jax.eval_shape(
    lambda key: nn.unbox(init(key, *args)), jax.random.key(0)
  )
  flat = traverse_util.flatten_dict(tree['params'], sep='/')
  return {name: x.shape for name, x in flat.items()}
