"""Whether a config fits its devices, its data and the run it resumes."""

import jax
import ml_collections
from etils import epath

from framebridge_jax import build, check, keys, saved
from framebridge_jax.cli import configs
from framebridge_jax.training import freezing, restoring
from framebridge_jax.training import logging as run_logging
from framebridge_jax.training import state as states

# What a checkpoint's arrays and their meaning hang on.
_FIXED_KEYS = (
  'job',
  'codec',
  'process',
  'prior',
  'hold_given',
  'denoiser',
  'model',
  'prior_model',
  'lora',
  'ema_decays',
)

_FREE_OPTIONS = ('attention', 'remat')  # how a network computes, not what

CODEC = 'codec.sha256'  # of the weights that made a run's latents


def with_classes(
  config: ml_collections.ConfigDict, found: int
) -> ml_collections.ConfigDict:
  """Sets the class count to the data's when the config leaves it open.

  Raises:
    ConfigError: it is another than the data's.
  """
  config = config.copy_and_resolve_references()
  for key in ('model', 'prior_model'):
    classes = config.get(key, {}).get('classes', 0)
    if classes == build.AS_FOUND:
      config[key].classes = found
    elif classes not in (0, found):
      raise check.ConfigError(
        f'the data set has {found} classes, {key}.classes is {classes}; set '
        f'it to {found}, to {build.AS_FOUND} for what is found, or to 0 for '
        f'none'
      )
  return config


def check_mesh(
  config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh
) -> None:
  """Refuses a mesh along which batch, frames or heads cannot be shared.

  Raises:
    ConfigError: as said; all problems together.
  """
  problems = [*_batch(config, mesh), *_hosts(mesh)]
  for key in keys.NETWORKS.get(config.job, ()):
    if key in config:
      problems += _network(config, key, mesh.shape)
  if config.job not in keys.NETWORKS:
    problems += [
      f'mesh.{axis} is {mesh.shape[axis]}, and a {config.job} has nothing to '
      f'lay along it; give those devices to mesh.data'
      for axis in ('tensor', 'frames')
      if mesh.shape[axis] > 1
    ]
  if problems:
    raise check.ConfigError(*problems)


def _network(config, key, sizes):
  """What frames, places and heads a network has, against the devices."""
  network = build.make_network(config[key], config.dtype)
  frames, side, _, _ = build.make_codec(config).latent_shape(
    config.data.frames, config.data.size
  )
  image = ', with the image before them,' if network.image_frame else ''
  counts = [
    ('frames', frames + network.image_frame, f'frames of {key}{image}'),
    ('frames', (side // network.patch) ** 2, f'tokens a frame of {key}'),
    ('tensor', network.heads, f'heads of {key}'),
  ]
  for axis, count, what in counts:
    if count % sizes[axis]:
      yield (
        f'mesh.{axis} {sizes[axis]} does not divide the {count} {what}; choose '
        f'another mesh.{axis}'
      )


def _batch(config, mesh):
  parts = mesh.shape['data'] * mesh.shape['fsdp']
  parts *= config.train.accumulate
  if config.train.batch_size % parts:
    yield (
      f'train.batch_size {config.train.batch_size} cannot be shared by the '
      f'devices along mesh.data and mesh.fsdp in train.accumulate parts '
      f'({parts} in all); make it a multiple'
    )


def _hosts(mesh):
  """Each host reads whole samples of its own."""
  parts, hosts = mesh.shape['data'] * mesh.shape['fsdp'], jax.process_count()
  if parts % hosts:
    yield (
      f'mesh.data x mesh.fsdp is {parts}, which {hosts} processes cannot share '
      f'equally; lay mesh.tensor and mesh.frames within a process'
    )


def check_trained(
  config: ml_collections.ConfigDict, layout: states.TrainState
) -> None:
  """Refuses a run in which nothing trains.

  Raises:
    ConfigError: as said.
  """
  trained, _ = freezing.split(layout.params, build.make_frozen(config))
  if not jax.tree.leaves(trained):
    raise check.ConfigError(
      f'optimizer.freeze {config.optimizer.freeze!r} is found in the name of '
      f'every parameter, so nothing would train; name fewer'
    )


def check_resume(
  config: ml_collections.ConfigDict, workdir: epath.PathLike
) -> None:
  """Refuses to go on with another model than the workdir's.

  Raises:
    ValueError: the keys that differ are named.
  """
  workdir = epath.Path(workdir)
  if not (workdir / saved.CONFIG).is_file():
    return
  old = dict(
    configs.flatten(ml_collections.ConfigDict(saved.load_config(workdir)))
  )
  new = dict(configs.flatten(config))
  if not (old.get('lora.rank') or new.get('lora.rank')):
    old |= {key: new[key] for key in new if key.startswith('lora.')}  # unused
  differences = [
    f'{key} was {old.get(key)!r}, is {new.get(key)!r}'
    for key in sorted(old.keys() | new.keys())
    if key.split('.')[0] in _FIXED_KEYS
    and key.split('.')[-1] not in _FREE_OPTIONS
    and _plain(old.get(key)) != _plain(new.get(key))
  ]
  if differences:
    raise ValueError(
      f'{workdir} holds a run of another model: {"; ".join(differences)}; '
      f'name another --workdir'
    )


def check_codec(
  config: ml_collections.ConfigDict, workdir: epath.PathLike
) -> str:
  """Refuses other weights of the codec than the run was begun with.

  Their path is in the config; this is about what stands there now.

  Returns:
    The codec's fingerprint.

  Raises:
    ValueError: the run's latents were made by other weights.
  """
  workdir = epath.Path(workdir)
  found = build.make_codec(config).fingerprint
  path = workdir / CODEC
  if path.is_file() and path.read_text() != found:
    raise ValueError(
      f'{workdir} holds a run in the latents of another autoencoder than '
      f'codec {config.codec!r}: its weights had the sha256 {path.read_text()}, '
      f'these have {found or "none"}'
    )
  return found


def check_log(
  config: ml_collections.ConfigDict,
  workdir: epath.PathLike,
  latest_step: int | None,
) -> None:
  """Refuses to begin anew where checkpoints must have been, and are gone.

  A run that stops when a save fails has a checkpoint before it has taken
  twice the steps between them.

  Raises:
    NoCheckpointError: the log tells of more steps than that.
  """
  workdir = epath.Path(workdir)
  if latest_step is not None or config.train.on_save_error != 'stop':
    return
  log = workdir / 'metrics.jsonl'
  taken = max((line['step'] for line in run_logging.read(log)), default=0)
  if taken >= 2 * config.train.checkpoint_every:
    raise restoring.NoCheckpointError(
      f'{log} tells of {taken} steps and there is no checkpoint in '
      f'{workdir / "checkpoints"}: bring a copy of them back, or remove the '
      f'log to begin anew'
    )


def _plain(value):
  """JSON knows no tuples."""
  return list(value) if isinstance(value, tuple) else value
