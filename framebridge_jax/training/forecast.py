"""What a step will take, before there is anything to take it.

Memory and exchanges are read from the compiled program, and operations are
counted in its source.  From these, and a chip's rates, follow three times that
a step cannot beat, each as if the other two cost nothing:

  compute   operations a device / its peak rate
  memory    2 (what the step is given + what it makes on the way) / bandwidth
  exchange  bytes sent along links / their rate + along the network / its rate

All is read once and written once at least; hence the 2.  The longest of the
three is the least that a step takes.  What is expected is the same with matrix
products at a share `utilisation` of the peak.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import jax
from jaxtyping import PyTree

from framebridge_jax.training import chips, collectives, flops
from framebridge_jax.training import state as states


@dataclasses.dataclass(frozen=True, kw_only=True)
class Memory:
  """Bytes of a step on the device that has most.

  Attributes:
    params: of the model.
    averages: of them.
    optimizer: its state.
    batch: what the step is given beside the state.
    temporary: gradients, activations and what else is made on the way.
    total: of all that lives at once.
  """

  params: int
  averages: int
  optimizer: int
  batch: int
  temporary: int
  total: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Times:
  """Seconds of a step on one kind of chip.

  Attributes:
    compute: at the peak rate.
    memory: of what must go to and from memory.
    exchange: of what must go to other devices.
    least: the longest of these.
    expected: the same with products at a share of the peak.
    fits: whether the chip's memory holds the step.
  """

  compute: float
  memory: float
  exchange: float
  least: float
  expected: float
  fits: bool


def held(tree: PyTree) -> int:
  """Bytes of a tree of shapes on one device; parts are of equal size."""
  return sum(
    math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize
    for x in jax.tree.leaves(tree)
  )


def memory(
  compiled: jax.stages.Compiled, layout: states.TrainState, batch: PyTree
) -> Memory:
  """Of a step that was compiled for this state and this batch."""
  found = compiled.memory_analysis()
  assert found is not None, 'every backend that we compile for tells it'
  return Memory(
    params=held(layout.params),
    averages=held(layout.ema),
    optimizer=held(layout.opt_state),
    batch=held(batch),
    temporary=found.temp_size_in_bytes,
    total=found.argument_size_in_bytes
    + found.output_size_in_bytes
    - found.alias_size_in_bytes  # the state that is given away
    + found.temp_size_in_bytes,
  )


def times(
  chip: chips.Chip,
  *,
  operations: float,
  memory: Memory,
  exchanges: Sequence[collectives.Collective],
  mesh: Mapping[str, int],
  utilisation: float,
) -> Times:
  """How long a step takes.

  Args:
    chip: what the devices are.
    operations: of a device's matrix products.
    memory: of the step.
    exchanges: of a device.
    mesh: sizes of the axes, the slowest first.
    utilisation: share of the peak that products reach.

  Raises:
    ValueError: the chip's peak rate is not known.
  """
  peak = flops.peak(chip.kind)
  if peak is None:
    raise ValueError(f'the peak rate of {chip.kind} is not known')
  compute = operations / peak
  moved = 2 * memory.total / chip.bandwidth
  exchange = sum(
    x.sent / (chip.link if _span(x.axes, mesh) <= chip.node else chip.network)
    for x in exchanges
  )
  return Times(
    compute=compute,
    memory=moved,
    exchange=exchange,
    least=max(compute, moved, exchange),
    expected=max(compute / utilisation, moved, exchange),
    fits=memory.total <= chip.memory,
  )


def _span(axes, mesh):
  """Neighbouring devices among which a group of these axes lies."""
  chosen = axes.split('+')
  if not set(chosen) <= set(mesh):
    return math.prod(mesh.values())
  names = list(mesh)
  first = min(names.index(name) for name in chosen)
  return math.prod(mesh[name] for name in names[first:])
