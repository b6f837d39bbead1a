"""--mode=export: a run's averaged weights as one safetensors file."""

import datetime
import json

import jax
import ml_collections
from absl import logging
from etils import epath

from framebridge_jax import build, check, jobs, saved
from framebridge_jax.porting import weights
from framebridge_jax.training import checkpoint


def run(config: ml_collections.ConfigDict, workdir: epath.PathLike) -> None:
  """Writes `config.path`; the file carries the run's config and its step.

  What LoRA has trained is merged into the matrices that it changes.  Where the
  data stood is left out: it is of no use elsewhere, and nobody's business.
  """
  check.check_mode(config, 'export')
  if not config.path:
    raise ValueError('no file to write; set --config.path=weights.safetensors')
  path = epath.Path(config.path)
  with checkpoint.Checkpointer(workdir, read_only=True) as checkpointer:
    params, step = saved.restore_average(
      config,
      checkpointer,
      jax.sharding.SingleDeviceSharding(jax.devices()[0]),
    )
  facts = {
    'step': json.dumps(step),
    'date': datetime.date.today().isoformat(),
    'device': jax.devices()[0].device_kind,
  }
  said = saved.load_config(workdir) | dict.fromkeys(_PLACES, '')
  if build.make_lora(config):
    facts['lora'] = json.dumps(said['lora'])
    said['lora'] = {**said['lora'], 'rank': 0}  # the sums are whole weights
  weights.save(
    path,
    jobs.merged(config, params),
    said,
    dtype=build.DTYPES[config.export_dtype],
    facts=facts,
  )
  logging.info(
    'Wrote %s: %s parameters, %.1f MB, step %s',
    path,
    f'{weights.count(params):,}',
    path.stat().length / 1e6,
    step,
  )


_PLACES = ('data_dir', 'cache_dir')
