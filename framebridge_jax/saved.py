"""What training left behind: a run's workdir, or a weight file.

Both carry the config that they were trained with, so that either alone is
enough to sample from.
"""

import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import ml_collections
from etils import epath
from jaxtyping import PyTree

from framebridge_jax import build, check, jobs
from framebridge_jax.porting import weights
from framebridge_jax.training import digests

if TYPE_CHECKING:
  from framebridge_jax.training import checkpoint, restoring

CONFIG = 'config.json'


class Saved(NamedTuple):
  """A trained model.

  Attributes:
    config: that it was trained with.
    variables: its averaged parameters.
    facts: where they came from, as JSON: `path`, `step` of a run, and the
      `sha256` of the parameters.
  """

  config: ml_collections.ConfigDict
  variables: dict[str, Any]
  facts: dict[str, Any]


def load(
  path: str | os.PathLike,
  layout: jax.sharding.Sharding,
  *,
  ema: float = 0.0,
) -> Saved:
  """Loads a run's workdir, a weight file, or a short name of `build.WEIGHTS`.

  Args:
    path: of either.
    layout: where the parameters go.
    ema: which of a run's averages; 0: the first.

  Raises:
    ValueError: there is no such thing, it animates nothing, or it is of a
      version whose config lacks what is wanted now.
  """
  place = epath.Path(path)
  if place.is_dir():
    config = ml_collections.ConfigDict(load_config(place))
    _check_config(config, place)
    config.ema, config.weights = ema, ''
    return of_run(config, place, layout)
  file = build.weights_path(str(path))
  if not file.is_file():
    raise ValueError(
      f'{path} is neither the workdir of a run nor a weight file; train with '
      f'--mode=train, or give one of {", ".join(build.WEIGHTS)}'
    )
  config = ml_collections.ConfigDict(weights.config_of(file))
  _check_config(config, file)
  config.ema, config.weights = 0.0, str(path)
  return of_run(config, place, layout)


def of_run(
  config: ml_collections.ConfigDict,
  workdir: epath.PathLike,
  layout: jax.sharding.Sharding,
) -> Saved:
  """The averaged weights: of `config.weights`, or of a checkpoint.

  Of the newest one, unless the config names a `step`.
  """
  if config.weights:
    path = build.weights_path(config.weights)
    like = jobs.abstract_weights(config)
    params = weights.fit(weights.load(path).params, like, fresh='').params
    variables = jax.device_put(params, layout)
    facts = {'path': config.weights}
  else:
    # Imported here: Orbax takes a second, and a weight file needs none.
    from framebridge_jax.training import checkpoint

    with checkpoint.Checkpointer(workdir, read_only=True) as checkpointer:
      params, step = restore_average(config, checkpointer, layout)
    variables = jobs.merged(config, params)
    facts = {'path': str(workdir), 'step': step}
  return Saved(config, variables, facts | {'sha256': fingerprint(variables)})


def load_config(workdir: epath.PathLike) -> dict[str, Any]:
  """The config of the run in a workdir.

  Raises:
    ValueError: there is no run.
  """
  path = epath.Path(workdir) / CONFIG
  if not path.is_file():
    raise ValueError(
      f'{workdir} holds no run (no {CONFIG}); train first with '
      f'--mode=train --config=... --workdir={workdir}, or name another workdir'
    )
  return json.loads(path.read_text())


def restore_average(
  config: ml_collections.ConfigDict,
  checkpointer: 'checkpoint.Checkpointer',
  layout: jax.sharding.Sharding,
) -> 'restoring.Average':
  """The average that `config.ema` names, of the newest whole checkpoint.

  Raises:
    ValueError: the run has no such average.
  """
  decay = config.ema or config.ema_decays[0]
  if decay not in config.ema_decays:
    raise ValueError(
      f'ema is {decay}; the run has averages of decay '
      f'{", ".join(map(str, config.ema_decays))}'
    )
  return checkpointer.restore_average(
    jobs.abstract_params(config),
    layout,
    decay=decay,
    step=config.get('step', 0),
  )


def fingerprint(params: PyTree) -> str:
  """SHA-256 of names, types, shapes and values; the layout has no say."""
  return digests.seal(digests.fetch(params), {})['sha256']


def _check_config(config, place):
  """Refuses what cannot be sampled from.

  Raises:
    ValueError: it is another job's, or of another version.
  """
  job = config.get('job')
  if job != 'denoiser':
    raise ValueError(
      f'{place} holds weights of job {job!r}; only a denoiser animates'
    )
  try:
    check.check_model(config)
  except check.ConfigError as error:
    raise ValueError(
      f'{place} was made by another version and cannot be loaded alone: '
      f'{error}; load it into a run of today with --config.weights'
    ) from None
