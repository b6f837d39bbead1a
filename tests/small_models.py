"""Weight files of models that are small enough to be made and not trained."""

import pathlib

import flax.linen as nn
import jax
import ml_collections
import tiny

from configs import quickstart
from framebridge_jax import jobs
from framebridge_jax.porting import weights

FRAMES, SIZE = 4, 8
SMALL = {
  'data.frames': FRAMES,
  'data.size': SIZE,
  'model.width': 16,
  'model.depth': 2,
  'model.heads': 2,
  'model.stem': 0,
}


def config(**changes) -> ml_collections.ConfigDict:
  """The quickstart's, smaller; `a__b=1` changes a.b."""
  made = quickstart.get_config()
  made.update_from_flattened_dict(SMALL)
  with made.unlocked():
    for name, value in changes.items():
      *sections, key = name.split('__')
      place = made
      for section in sections:
        place = place[section]
      place[key] = value
  return made


def save(path: pathlib.Path, **changes) -> pathlib.Path:
  """Writes random weights of such a config."""
  chosen = config(**changes)
  make = tiny.quick_jit(lambda key: nn.unbox(jobs.make_init(chosen)(key)))
  weights.save(
    path,
    tiny.shaken(make(jax.random.key(0))),
    chosen.to_dict(),
    dtype='float32',
    facts={},
  )
  return path
