"""Checkpoints taken through the port path, from files or from memory."""

import pathlib
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np
from flax import traverse_util

from framebridge_jax.porting import family, readers, rules

GOLDEN = pathlib.Path(__file__).parent / 'golden'
FLOAT32 = np.dtype(np.float32)


class Port(NamedTuple):
  """A network, what was found of it, its table, and what was read."""

  network: nn.Module
  found: family.Found
  table: family.Rows
  ported: rules.Ported

  @property
  def variables(self) -> dict[str, Any]:
    return {'params': traverse_util.unflatten_dict(self.ported.params, sep='/')}


def port(
  state: Mapping[str, np.ndarray],
  module: ModuleType,
  network: Callable[..., nn.Module],
  size: Mapping[str, Any],
) -> Port:
  """Ports a state dict by the tables of a module of `porting`."""
  specs = {name: readers.Spec(x.shape, x.dtype) for name, x in state.items()}
  found = module.look(specs, size, {})
  made = network(**found.options)
  table = module.rows(made, found.layout, **found.facts)
  kept = {k: v for k, v in specs.items() if k not in found.skipped}
  reader = readers.Reader(kept, lambda name: state[name])
  ported = rules.port(reader, table, module.shapes(made), FLOAT32)
  return Port(made, found, table, ported)


def state_of(path: pathlib.Path) -> dict[str, np.ndarray]:
  with readers.open_weights(path) as reader:
    return {name: reader.read(name) for name in reader.specs}


def specs_of(
  shapes: Mapping[str, tuple[int, ...]],
) -> dict[str, readers.Spec]:
  return {k: readers.Spec(tuple(v), FLOAT32) for k, v in shapes.items()}


def apart(got, want) -> float:
  """The largest difference, of the largest number."""
  assert got.shape == want.shape
  return float(np.abs(np.asarray(got) - want).max() / np.abs(want).max())


def assert_same_bytes(
  got: Mapping[str, np.ndarray], want: Mapping[str, np.ndarray]
) -> None:
  assert got.keys() == want.keys()
  for name, x in want.items():
    assert (got[name].dtype, got[name].shape) == (x.dtype, x.shape), name
    assert got[name].tobytes() == x.tobytes(), name
