"""--mode=plan: what a training would take, from its compiled program alone.

Nothing is read and nothing is trained.  The step is compiled ahead of time, for
virtual devices or for a described topology of TPUs, and the report is read from
the program: bytes, exchanges, and by a chip's rates the time.
"""

import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import ml_collections
import numpy as np
from absl import logging
from etils import epath
from jax.experimental import topologies

from framebridge_jax import build, check, files, jobs, keys
from framebridge_jax.cli import fitting, runs
from framebridge_jax.training import (
  chips,
  collectives,
  flops,
  forecast,
  sharding,
  step,
)

FILE = 'plan.json'


class Plan(NamedTuple):
  """What was found.

  Attributes:
    target: what the program was compiled for, in words.
    mesh: sizes of its axes.
    parameters: numbers of the model, and how many of them train.
    memory: of a device.
    operations: of matrix products on all devices: `model`, by the convention
      of MFU, and `program`, with what remat computes anew.
    exchanges: of a device.
    times: by chip.
    seconds: that compiling took.
  """

  target: str
  mesh: Mapping[str, int]
  parameters: int
  memory: forecast.Memory
  operations: Mapping[str, float]
  exchanges: Sequence[collectives.Collective]
  times: Mapping[str, forecast.Times]
  seconds: float


def run(config: ml_collections.ConfigDict, workdir: epath.PathLike) -> None:
  """Prints the report and writes it as `WORKDIR/plan.json`.

  Raises:
    ConfigError: the config cannot be trained with, or its mesh does not fit.
    ValueError: there are no such devices to compile for.
  """
  check.check_mode(config, 'plan')
  training = _training(config)
  check.check_program(training)
  _check_known(training)
  workdir = runs.make_workdir(workdir)
  target, devices = _devices(config.topology, config.devices)
  mesh = sharding.make_mesh(dict(config.mesh), devices)
  fitting.check_mesh(training, mesh)
  plan = _plan(training, mesh, target, config)
  with files.replacing(workdir / FILE) as part:
    part.write_text(json.dumps(as_json(plan), indent=2) + '\n')
  print(text(plan))
  logging.info('Wrote %s', workdir / FILE)


def as_json(plan: Plan) -> dict[str, Any]:
  """The plan as plain values."""
  return {
    **plan._asdict(),
    'memory': dataclasses.asdict(plan.memory),
    'exchanges': [x._asdict() for x in plan.exchanges],
    'times': {k: dataclasses.asdict(x) for k, x in plan.times.items()},
  }


def text(plan: Plan) -> str:
  """The plan as aligned text."""
  sizes = ', '.join(f'{axis} {size}' for axis, size in plan.mesh.items())
  lines = [
    f'compiled for {plan.target}, in {plan.seconds:.0f} s',
    f'mesh {sizes}',
    f'{plan.parameters:,} parameters',
    '',
    'memory of a device, bytes',
    *_table(
      [(name, f'{x:,}') for name, x in dataclasses.asdict(plan.memory).items()]
    ),
    '',
    'operations of a step, all devices',
    *_table([(name, f'{x:.3e}') for name, x in plan.operations.items()]),
    '',
    'exchanges of a device and step',
    *_table(
      [
        ('kind', 'along', 'devices', 'count', 'result bytes', 'sent bytes'),
        *(
          (x.kind, x.axes, x.devices, x.count, f'{x.size:,.0f}')
          + (f'{x.sent:,.0f}',)
          for x in plan.exchanges
        ),
      ]
    ),
    '',
    'seconds of a step, if the devices were',
    *_table(
      [
        ('chip', 'compute', 'memory', 'exchange', 'least', 'expected', 'fits'),
        *(_row(name, x) for name, x in plan.times.items()),
      ]
    ),
  ]
  return '\n'.join(lines)


def _row(name, times):
  numbers = (
    times.compute,
    times.memory,
    times.exchange,
    times.least,
    times.expected,
  )
  return name, *(f'{x:.4f}' for x in numbers), 'yes' if times.fits else 'no'


def _table(rows):
  cells = [[str(x) for x in row] for row in rows]
  widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
  return [
    '  '
    + '  '.join(
      [row[0].ljust(widths[0])]
      + [x.rjust(n) for x, n in zip(row[1:], widths[1:], strict=True)]
    )
    for row in cells
  ]


def _training(config):
  """The config without the keys of the mode."""
  config = config.copy_and_resolve_references().unlock()
  for name in keys.MODES['plan']:
    del config[name]
  return config


def _check_known(config):
  """Refuses what only the data would tell."""
  for key in keys.NETWORKS.get(config.job, ('model',)):
    if config.get(key, {}).get('classes', 0) == build.AS_FOUND:
      raise check.ConfigError(
        f'{key}.classes is {build.AS_FOUND}, the number that the data have, '
        f'and a plan reads no data; give the number'
      )


def _devices(topology, count):
  """What to compile for, in words and as devices; none of them need be here.

  Raises:
    ValueError: the topology cannot be described, or JAX has other devices.
  """
  try:
    # An accelerator that is here must stay free, and has too few devices.
    jax.config.update('jax_platforms', 'cpu')
    jax.config.update('jax_num_cpu_devices', count)
  except RuntimeError:  # JAX has started already, in a notebook or a test
    logging.info('JAX has started; its devices are taken as they are')
  if topology:
    return _described(topology)
  devices = jax.devices('cpu')
  if len(devices) < count:
    raise ValueError(
      f'devices is {count} and JAX has started with {len(devices)}; plan in a '
      f'process of its own, and leave XLA_FLAGS without a device count'
    )
  return f'{count} virtual CPU devices', devices[:count]


def _described(topology):
  try:
    found = topologies.get_topology_desc(platform='tpu', topology_name=topology)
  except (RuntimeError, ValueError, ImportError) as error:
    words = ' '.join(str(error).split())[:_LETTERS]
    raise ValueError(
      f'topology {topology!r} cannot be described ({words}); it is of the form '
      f'v5e:16x16 and needs the package libtpu, or leave it empty'
    ) from None
  devices = list(found.devices)
  kind = devices[0].device_kind
  return f'{len(devices)} x {kind} ({topology}), none of them here', devices


def _plan(training, mesh, target, config):
  layout = jobs.layout(training, mesh)
  fitting.check_trained(training, layout)
  batch = jax.tree.map(
    lambda x: sharding.target(x, sharding.batch_sharding(mesh)),
    jobs.abstract_batch(training),
  )
  start = time.perf_counter()
  compiled = _compile(training, layout, batch, mesh)
  seconds = time.perf_counter() - start
  sizes = dict(mesh.shape)
  exchanges = collectives.read(compiled.as_text() or '', sizes)
  memory = forecast.memory(compiled, layout, batch)
  program = jobs.step_operations(training, layout.params)
  model = flops.TRAINING * jobs.loss_operations(training, layout.params)
  return Plan(
    target=target,
    mesh=sizes,
    parameters=sum(x.size for x in jax.tree.leaves(layout.params)),
    memory=memory,
    operations={'model': model, 'program': program},
    exchanges=exchanges,
    times={
      name: forecast.times(
        chips.CHIPS[name],
        operations=program / mesh.size,
        memory=memory,
        exchanges=exchanges,
        mesh=sizes,
        utilisation=config.utilisation,
      )
      for name in config.chips
    },
    seconds=round(seconds, 1),
  )


def _compile(training, layout, batch, mesh):
  position = jax.ShapeDtypeStruct(
    (), np.int32, sharding=sharding.replicated(mesh)
  )
  # Outside the mesh: its key is computed, and the devices need not be there.
  made = jobs.make_step(training)
  with jax.set_mesh(mesh), nn.logical_axis_rules(sharding.RULES):
    run_step = step.jitted(made, layout)
    return run_step.lower(layout, batch, position).compile()


_LETTERS = 200
