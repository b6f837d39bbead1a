"""Ported encoders: a weight file becomes a network with its parameters."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from etils import epath
from jaxtyping import PyTree

from framebridge_jax.porting import family, table, weights


class Encoder(NamedTuple):
  """A network, its parameters as they are stored, and its file's config."""

  network: nn.Module
  variables: PyTree
  config: dict[str, Any]


def load(
  path: epath.PathLike, want: tuple[str, ...], dtype: Any = jnp.float32
) -> Encoder:
  """Reads a weight file that `--mode=port` wrote.

  Args:
    path: the file.
    want: families of which the network may be.
    dtype: of matrix products; parameters stay as they are stored.

  Raises:
    ValueError: the file cannot be read, or holds another network.
  """
  network = peek(path, want, dtype)
  loaded = weights.load(path, dtype=None)
  return Encoder(network, loaded.params, loaded.config)


def peek(
  path: epath.PathLike, want: tuple[str, ...], dtype: Any = jnp.float32
) -> nn.Module:
  """The network of a weight file, whose numbers are not read.

  Raises:
    ValueError: as `load`.
  """
  options = dict(weights.config_of(path).get('model', {}))
  name = options.pop('name', 'network without a name')
  if name not in want:
    raise weights.WeightsError(
      f'{path} holds a {name}, want {" or ".join(want)}; port one with '
      f'--mode=port'
    )
  make = table.FAMILIES[name].network
  return make(**family.hashable(options), dtype=dtype)
