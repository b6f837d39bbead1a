"""--mode=port: a checkpoint of another project becomes weights of ours."""

import contextlib
import datetime
import hashlib
import json
import os
import pathlib
import shutil
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import safetensors.numpy
from absl import logging
from flax import traverse_util

from framebridge_jax import build, check, version
from framebridge_jax.cli import runs
from framebridge_jax.data import atomic
from framebridge_jax.models import latte
from framebridge_jax.porting import latte as latte_rows
from framebridge_jax.porting import readers, rules, surgery, table, weights


def run(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
  """Writes `weights.safetensors`, `checkpoint/` and `port.json`.

  With `config.back`, `pytorch.safetensors` alone: one of our weight files
  under the names of the project that the network comes from.
  """
  check.check_mode(config, 'port')
  if not config.checkpoint:
    raise ValueError('no checkpoint to port; set --config.checkpoint=file.pt')
  source = pathlib.Path(config.checkpoint)
  if config.back:
    _give_back(source, config.layout, workdir)
    return
  if config.model not in table.PORTS:
    raise ValueError(
      f'model is {config.model!r}, want one of {", ".join(table.PORTS)}'
    )
  found, ported, said = _read(source, config)
  _judge_place(workdir)
  runs.make_workdir(workdir)
  model = {'name': config.model, **found.options}
  with _staged(workdir) as stage:
    path = stage / 'weights.safetensors'
    _write(path, ported, model, found, config)
    report = _report(source, path, ported, model, found)
    report |= said
    text = json.dumps(report, indent=1) + '\n'
    (stage / 'port.json').write_text(text)
  _show(report)


def _read(source, config):
  """What the checkpoint is, its parameters, and what it says besides."""
  size = table.PORTS[config.model]
  with readers.open_weights(source, config.state) as reader:
    found = latte_rows.look(
      reader.specs, frames=config.frames, channels=config.channels
    )
    _judge_size(source, latte_rows.size(reader.specs, found.layout), config)
    network = latte.Latte(**size, **found.options)
    ported = rules.port(
      reader,
      latte_rows.rows(
        network, frames=config.frames, grid=found.grid, layout=found.layout
      ),
      shapes_of(network, config.frames, found.grid, config.channels),
      np.dtype(build.DTYPES[config.export_dtype]),
    )
  return found, ported, {'state': reader.state, 'skipped': reader.skipped}


def _judge_size(source, seen, config):
  """Names the model that the checkpoint is, where it is another one."""
  fits = [
    name
    for name, numbers in table.PORTS.items()
    if seen == {key: numbers[key] for key in seen}
  ]
  if fits and config.model not in fits:
    raise ValueError(
      f'model is {config.model!r}, but {source} has the shapes of {fits[0]}'
    )


def _judge_place(workdir):
  """Leaves alone what no port has made; the source may be among it."""
  held = [name for name in _PARTS if (workdir / name).exists()]
  if held and _PARTS[-1] not in held:
    raise ValueError(
      f'workdir {workdir} holds {held[0]}, which would be replaced, and no '
      f'{_PARTS[-1]} of an earlier port; choose another workdir'
    )


@contextlib.contextmanager
def _staged(workdir):
  """A folder whose contents move to the workdir when all of them are there."""
  for left in workdir.glob('.port.*'):  # of a port that was killed
    shutil.rmtree(left, ignore_errors=True)
  stage = workdir / f'.port.{os.getpid()}'
  stage.mkdir()
  try:
    yield stage
    for name in _PARTS:
      target = workdir / name
      if target.is_dir():
        shutil.rmtree(target)
      (stage / name).replace(target)
  finally:
    shutil.rmtree(stage, ignore_errors=True)


def _give_back(source, layout, workdir):
  """The table read backwards."""
  loaded = weights.load(source)
  model = ml_collections.ConfigDict(loaded.config['model'])
  if model.name not in latte.MODELS:
    raise ValueError(f'{source} holds a {model.name}, which has no other names')
  network = build.make_network(model, 'float32')
  if any(getattr(network, name) for name in _OURS):
    raise ValueError(
      f'{source} holds a network with one of {", ".join(_OURS)}, which Latte '
      f'does not have'
    )
  if 'prior' in loaded.params:
    raise ValueError(
      f'{source} holds a neural prior beside its network; export F from the '
      f'run that trained it'
    )
  flat = traverse_util.flatten_dict(loaded.params, sep='/')
  flat = surgery.unstack_pairs({n: np.asarray(x) for n, x in flat.items()})
  frames, grid = _clip_size(loaded.config, network)
  rows = latte_rows.rows(
    network,
    frames=frames,
    grid=grid,
    layout=loaded.config.get('layout', layout),
  )
  named = rules.export(
    {name.removeprefix('params/'): x for name, x in flat.items()},
    loaded.tables,
    rows,
  )
  runs.make_workdir(workdir)
  path = workdir / 'pytorch.safetensors'
  with atomic.replacing(path) as temporary:
    safetensors.numpy.save_file(named, temporary)
  logging.info('Wrote %s: %d tensors', path, len(named))


def _clip_size(config, network):
  """Frames and tokens a side, of a ported file or of a run's."""
  if 'grid' in config:
    return config['frames'], config['grid']
  config = ml_collections.ConfigDict(config)
  frames, side, _, _ = build.make_codec(config).latent_shape(
    config.data.frames, config.data.size
  )
  return frames, side // network.patch


def shapes_of(
  network: latte.Latte, frames: int, grid: int, channels: int
) -> dict[str, tuple[int, ...]]:
  """Shapes of a network's parameters by path, without making them."""
  side = grid * network.patch
  z = jnp.zeros((1, frames, side, side, channels), jnp.float32)
  cond = latte.Cond(
    label=jnp.zeros(1, jnp.int32),
    prior=z,
    image=z[:, :1],
    text=jnp.zeros((1, network.text_width), jnp.float32),
  )
  t = jnp.zeros((1, frames), jnp.float32)
  tree = jax.eval_shape(
    lambda key: nn.unbox(network.init(key, z, t, cond)), jax.random.key(0)
  )
  flat = traverse_util.flatten_dict(tree['params'], sep='/')
  return {name: x.shape for name, x in flat.items()}


def _write(path, ported, model, found, config):
  """A weight file, and an Orbax checkpoint beside it."""
  weights.save(
    path,
    _tree(ported.params),
    {
      'model': model,
      'layout': found.layout,
      'frames': config.frames,
      'grid': found.grid,
      'channels': config.channels,
    },
    dtype=build.DTYPES[config.export_dtype],
    facts={'date': datetime.date.today().isoformat()},
    tables=ported.kept,
  )
  _write_orbax(path.parent / 'checkpoint', ported.params)


def _write_orbax(folder, params):
  """As `StandardCheckpointer` does, but without copies of what is written.

  Its handler of numpy arrays copies them all first, and its database puts
  whole files together in memory.
  """
  import orbax.checkpoint as ocp

  arrays = ocp.type_handlers.NumpyHandler(deepcopy_host_arrays=False)
  handler = ocp.PyTreeCheckpointHandler(
    use_ocdbt=False,
    type_handler_registry=ocp.type_handlers.create_type_handler_registry(
      (np.ndarray, arrays)
    ),
  )
  with ocp.Checkpointer(handler) as checkpointer:
    arguments = ocp.args.PyTreeSave(_tree(params))
    checkpointer.save(folder.absolute(), args=arguments)


def _tree(flat):
  return {'params': traverse_util.unflatten_dict(flat, sep='/')}


def _report(
  source: pathlib.Path, path: pathlib.Path, ported, model, found
) -> dict[str, Any]:
  return {
    'source': str(source),
    'source_sha256': {x.name: _sha256(x) for x in readers.files(source)},
    'weights': path.name,
    'weights_sha256': _sha256(path),
    'model': model,
    'layout': found.layout,
    'parameters': sum(x.size for x in ported.params.values()),
    'version': version.__version__,
    'tensors': [line._asdict() for line in ported.lines],
  }


def _show(report):
  for line in report['tensors']:
    logging.info(
      '%s %s -> %s %s %s',
      line['source'],
      tuple(line['source_shape']),
      line['target'],
      tuple(line['target_shape']),
      line['dtype'],
    )
  logging.info(
    'Ported %s tensors, %s parameters (%s): %s, sha256 %s, to %s, sha256 %s',
    len(report['tensors']),
    f'{report["parameters"]:,}',
    ', '.join(f'{k}={v}' for k, v in report['model'].items()),
    report['source'],
    ', '.join(report['source_sha256'].values()),
    report['weights'],
    report['weights_sha256'],
  )
  if report['skipped']:
    logging.info(
      'Took %s; passed over %s',
      report['state'] or 'the tensors',
      ', '.join(report['skipped']),
    )


def _sha256(path):
  with path.open('rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


# Moved in this order: where the last is, all are of a port.
_PARTS = ('weights.safetensors', 'checkpoint', 'port.json')
# Options of a network whose names, or whose tables, Latte's are not.
_OURS = ('stem', 'anchor', 'stride', 'trained_grid')
