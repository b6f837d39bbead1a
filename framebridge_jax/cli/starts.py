"""What a run starts from."""

from collections.abc import Callable

import ml_collections
import numpy as np
from absl import logging
from flax import traverse_util

from framebridge_jax import build
from framebridge_jax.porting import surgery, weights
from framebridge_jax.training import checkpoint, lora, restoring
from framebridge_jax.training import state as states


def start(
  config: ml_collections.ConfigDict,
  layout: states.TrainState,
  create: Callable[[], states.TrainState],
  checkpointer: checkpoint.Checkpointer,
) -> restoring.Restored:
  """Three ways: the newest checkpoint, the weights of init_from, nothing.

  Args:
    config: of the run.
    layout: shapes and places of the state.
    create: makes a fresh one; not called for a checkpoint, since a device may
      hold one state and not two.
    checkpointer: of the run.
  """
  if checkpointer.latest_step is not None:
    return checkpointer.restore(layout)
  fresh = create()
  if config.init_from or 'prior' in fresh.params:
    return restoring.Restored(start_from(config, fresh), 0)
  return restoring.Restored(fresh, 0)


def start_from(
  config: ml_collections.ConfigDict, state: states.TrainState
) -> states.TrainState:
  """The state with weights of other runs: the network's, and F's beside it."""
  params = dict(state.params)
  if config.init_from:
    own = {'params': params.pop('params')}
    params |= _fitted(config, 'init_from', own)
  if 'prior' in params:
    prior = {'params': params.pop('prior')}
    params['prior'] = _fitted(config, 'prior_from', prior)['params']
  return states.with_params(state, params)


def _fitted(config, key, like):
  """Weights of a file, changed to the model's shapes where we know how."""
  path = build.weights_path(config[key])
  flat = traverse_util.flatten_dict(weights.load(path).params, sep='/')
  if any(name.startswith(f'{lora.BRANCH}/') for name in flat):
    raise ValueError(
      f'{key} {path} holds matrices of LoRA ({lora.BRANCH}/) beside its '
      f'weights; merge them first, as --mode=export does'
    )
  shapes = traverse_util.flatten_dict(like, sep='/')
  try:
    if key == 'init_from' and config.init_surgery:
      flat = surgery.adapt(
        {name: np.asarray(x) for name, x in flat.items()},
        {name: x.shape for name, x in shapes.items()},
        patch=build.make_network(config.model, config.dtype).patch,
      )
    fitted, kept = weights.fit(
      traverse_util.unflatten_dict(flat, sep='/'),
      like,
      fresh=config.init_fresh if key == 'init_from' else '',
    )
  except (weights.WeightsError, surgery.SurgeryError) as error:
    raise ValueError(f'{key} {path}: {error}') from None
  logging.info('Started from %s; fresh: %s', path, ', '.join(kept) or 'none')
  return fitted
