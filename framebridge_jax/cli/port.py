"""--mode=port: a checkpoint of another project becomes weights of ours."""

import collections
import contextlib
import datetime
import json
import os
import pathlib
import shutil
import tempfile
from typing import Any

import ml_collections
import numpy as np
import psutil
import safetensors.numpy
from absl import logging
from etils import epath
from flax import traverse_util

from framebridge_jax import build, check, files, version
from framebridge_jax.cli import runs
from framebridge_jax.models import latte
from framebridge_jax.porting import family as families
from framebridge_jax.porting import latte as latte_rows
from framebridge_jax.porting import readers, rules, surgery, table, weights


def run(config: ml_collections.ConfigDict, workdir: epath.PathLike) -> None:
  """Writes `weights.safetensors`, `checkpoint/` and `port.json`.

  With `config.back`, `pytorch.safetensors` alone: one of our weight files
  under the names of the project that the network comes from.
  """
  check.check_mode(config, 'port')
  if not config.checkpoint:
    raise ValueError('no checkpoint to port; set --config.checkpoint=file.pt')
  if not config.back and config.model not in table.PORTS:
    raise ValueError(
      f'model is {config.model!r}, want one of {", ".join(table.PORTS)}'
    )
  with files.at_hand(config.checkpoint) as source:
    if config.back:
      _give_back(source, config.layout, workdir)
    else:
      _port(source, config, workdir)


def _port(source, config, workdir):
  network, found, ported, said = _read(source, config)
  _judge_place(workdir)
  runs.make_workdir(workdir)
  with _staged(workdir) as stage:
    path = stage / 'weights.safetensors'
    weights.save(
      path,
      _tree(ported.params),
      {'model': network, 'layout': found.layout, **found.facts},
      dtype=build.DTYPES[config.export_dtype],
      facts={'date': datetime.date.today().isoformat()},
      tables=ported.kept,
    )
    if network['name'] in latte.MODELS:  # what runs can start from
      _write_orbax(stage / 'checkpoint', ported.params)
    report = _report(config, source, path, ported, network, found)
    report |= said
    text = json.dumps(report, indent=1) + '\n'
    (stage / 'port.json').write_text(text)
  _show(report)


def _read(source, config):
  """What the checkpoint is, its parameters, and what it says besides."""
  kind, size = table.PORTS[config.model]
  family = table.FAMILIES[kind]
  said = {'frames': config.frames, 'channels': config.channels}
  with readers.open_weights(source, config.state) as reader:
    if {'config', 'version'} <= reader.metadata.keys():
      raise ValueError(
        f'{source} is a weight file of framebridge_jax already; '
        f'--config.back=True gives it the names of its project'
      )
    try:
      found = family.look(reader.specs, size, said)
    except rules.PortError as error:
      raise _explained(error, reader.specs, said, config, source) from None
    family.judge_config(source, size)
    network = family.network(**{**size, **found.options})
    specs = {
      name: spec
      for name, spec in reader.specs.items()
      if name not in found.skipped
    }
    ported = rules.port(
      reader._replace(specs=specs),
      family.rows(network, found.layout, **found.facts),
      family.shapes(network, **found.facts),
      np.dtype(build.DTYPES[config.export_dtype]),
    )
  name = config.model if kind == 'latte' else kind
  skipped = [*reader.skipped, *_parts(found.skipped)]
  return (
    {'name': name, **found.options},
    found,
    ported,
    {'state': reader.state, 'skipped': skipped},
  )


def _parts(names):
  """Tensors by the first words of their names, counted."""
  counts = collections.Counter(name.split('.')[0] for name in names)
  return [f'{part}.* ({count} tensors)' for part, count in counts.items()]


def _explained(error, specs, said, config, source):
  """Names the model that the checkpoint is, where it is another one."""
  asked = table.PORTS[config.model].family
  for name, (kind, size) in sorted(
    table.PORTS.items(), key=lambda row: row[1].family != asked
  ):
    try:
      table.FAMILIES[kind].look(specs, size, said)
    except rules.PortError:
      continue
    return rules.PortError(
      f'model is {config.model!r}, but {source} has the shapes of {name}'
    )
  return error


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
  if not files.is_local(workdir):
    with tempfile.TemporaryDirectory() as folder:
      stage = pathlib.Path(folder)
      yield stage
      for name in _PARTS:
        if (stage / name).exists():
          files.put(stage / name, workdir / name)
    return
  workdir = pathlib.Path(workdir)
  for left in workdir.glob('.port.*'):  # of a port that was killed
    if not psutil.pid_exists(int(left.suffix[1:])):
      shutil.rmtree(left, ignore_errors=True)
  stage = workdir / f'.port.{os.getpid()}'
  try:
    stage.mkdir()
  except OSError as error:
    raise ValueError(
      f'workdir {workdir} cannot be written to: {error.strerror}'
    ) from None
  try:
    yield stage
    (workdir / _PARTS[-1]).unlink(missing_ok=True)
    for name in _PARTS:
      target = workdir / name
      if target.is_dir():
        shutil.rmtree(target)
      if (stage / name).exists():
        (stage / name).replace(target)
  finally:
    shutil.rmtree(stage, ignore_errors=True)


def _give_back(source, layout, workdir):
  """The table read backwards."""
  loaded = weights.load(source, dtype=None)
  rows, flat = (
    _latte_back(source, loaded, layout)
    if loaded.config.get('model', {}).get('name') in latte.MODELS
    else _encoder_back(source, loaded)
  )
  named = rules.export(flat, loaded.tables, rows)
  runs.make_workdir(workdir)
  path = workdir / 'pytorch.safetensors'
  with files.replacing(path) as temporary:
    safetensors.numpy.save_file(named, temporary)
  logging.info('Wrote %s: %d tensors', path, len(named))


def _encoder_back(source, loaded):
  facts = dict(loaded.config)
  options = dict(facts.pop('model', {}))
  name = options.pop('name', 'network without a name')
  if name not in table.FAMILIES or 'layout' not in facts:
    raise ValueError(f'{source} holds a {name}, which has no other names')
  family = table.FAMILIES[name]
  network = family.network(**families.hashable(options))
  return family.rows(network, **facts), _named(_flat(loaded))


def _latte_back(source, loaded, layout):
  model = ml_collections.ConfigDict(loaded.config['model'])
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
  frames, grid = _clip_size(loaded.config, network)
  rows = latte_rows.rows(
    network,
    loaded.config.get('layout', layout),
    frames=frames,
    grid=grid,
    channels=0,
  )
  return rows, _named(surgery.unstack_pairs(_flat(loaded)))


def _flat(loaded):
  flat = traverse_util.flatten_dict(loaded.params, sep='/')
  return {name: np.asarray(x) for name, x in flat.items()}


def _named(flat):
  return {name.removeprefix('params/'): x for name, x in flat.items()}


def _clip_size(config, network):
  """Frames and tokens a side, of a ported file or of a run's."""
  if 'grid' in config:
    return config['frames'], config['grid']
  config = ml_collections.ConfigDict(config)
  frames, side, _, _ = build.make_codec(config).latent_shape(
    config.data.frames, config.data.size
  )
  return frames, side // network.patch


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


def _report(config, source, path, ported, model, found) -> dict[str, Any]:
  return {
    'source': config.checkpoint,
    'source_sha256': {x.name: files.sha256(x) for x in readers.files(source)},
    'weights': path.name,
    'weights_sha256': files.sha256(path),
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


# Moved in this order: where the last is, all are of a port.
_PARTS = ('weights.safetensors', 'checkpoint', 'port.json')
# Options of a network whose names, or whose tables, Latte's are not.
_OURS = ('stem', 'anchor', 'stride', 'trained_grid')
