"""Whether a config fits its devices, its data and the run it resumes."""

import jax
import ml_collections
from etils import epath

from framebridge_jax import build, check, saved
from framebridge_jax.cli import configs
from framebridge_jax.training import logging as run_logging
from framebridge_jax.training import restoring

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
  'ema_decays',
)

# How a network is computed; what it computes is the same.
_SAME_NUMBERS = ('model.attention',)

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


def check_batch(
  config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh
) -> None:
  """Refuses a batch that the devices cannot share.

  Raises:
    ConfigError: as said.
  """
  parts = mesh.shape['data'] * mesh.shape['fsdp']
  parts *= config.train.accumulate
  if config.train.batch_size % parts:
    raise check.ConfigError(
      f'train.batch_size {config.train.batch_size} cannot be shared by the '
      f'devices along mesh.data and mesh.fsdp in train.accumulate parts '
      f'({parts} in all); make it a multiple'
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
  differences = [
    f'{key} was {old.get(key)!r}, is {new.get(key)!r}'
    for key in sorted(old.keys() | new.keys())
    if key.split('.')[0] in _FIXED_KEYS
    and key not in _SAME_NUMBERS
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
