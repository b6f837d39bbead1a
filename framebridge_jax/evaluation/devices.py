"""A network over clips on the devices of this host.

Each device always gets the same number of clips, padded where there are fewer.
So the program that a clip goes through depends neither on how many there are
nor on the number of devices, and its numbers do not either.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import PartitionSpec
from jaxtyping import Float, UInt8


def spread(
  function: Callable[[Any, jax.Array], jax.Array],
  variables: Any,
  *,
  each: int,
  devices: Sequence[jax.Device] | None = None,
) -> Callable[[UInt8[np.ndarray, 'n ...']], Float[np.ndarray, 'n d']]:
  """Gives a function over any number of clips.

  Args:
    function: of the variables and `each` clips, uint8; gives [each, d].
    variables: of the network.
    each: clips that a device works on at a time.
    devices: where; all of this host by default.
  """
  devices = devices or jax.local_devices()
  mesh = jax.sharding.Mesh(np.array(devices), ('clips',))
  apart, whole = PartitionSpec('clips'), PartitionSpec()
  run = jax.jit(
    jax.shard_map(function, mesh=mesh, in_specs=(whole, apart), out_specs=apart)
  )
  variables = jax.device_put(variables, jax.sharding.NamedSharding(mesh, whole))
  size = each * len(devices)

  def call(clips):
    found = []
    for start in range(0, len(clips), size):
      part = clips[start : start + size]
      missing = size - len(part)
      filled = np.concatenate([part, np.repeat(part[-1:], missing, axis=0)])
      found.append(np.asarray(run(variables, filled))[: len(part)])
    return np.concatenate(found)

  return call
