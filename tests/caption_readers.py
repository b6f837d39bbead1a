"""Text encoders small enough for tests, as weight files of a port."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from framebridge_jax.models import bert, clip, t5
from framebridge_jax.porting import weights

_CLIP = {'length': 77, 'width': 16, 'heads': 2, 'depth': 2, 'mlp': 24}
NETWORKS = {
  't5': t5.T5Encoder(
    vocab=500, width=16, heads=2, head_width=4, mlp=24, depth=2
  ),
  'clip_text': clip.TextTower(vocab=1714, activation='gelu', **_CLIP),
  'bert': bert.Bert(
    vocab=1410, length=256, types=2, width=16, heads=2, depth=1, mlp=24
  ),
}
LAYOUTS = {'t5': 'shared', 'clip_text': 'transformers_5', 'bert': 'encoder'}


def options(network) -> dict:
  """All options of a network, but for its dtype."""
  names = network.__dataclass_fields__.keys() - {'parent', 'name', 'dtype'}
  return {name: getattr(network, name) for name in sorted(names)}


def make(family: str, seed: int = 0):
  """Random parameters; scales of norms are near 1."""
  ids = jnp.zeros((1, 4), jnp.int32)
  args = (ids, ids == 0) if family == 'bert' else (ids,)
  init = NETWORKS[family].init
  shapes = jax.eval_shape(init, jax.random.key(0), *args)
  rng = np.random.default_rng(seed)

  def draw(path, x):
    middle = 1.0 if 'scale' in str(path) else 0.0
    drawn = middle + 0.3 * rng.normal(size=x.shape)
    return jnp.asarray(drawn, jnp.float32)

  return jax.tree_util.tree_map_with_path(draw, shapes)


def save(path: pathlib.Path, family: str, seed: int = 0, dtype='float32'):
  """Writes it, and gives its parameters."""
  params = make(family, seed)
  model = {'name': family, **options(NETWORKS[family])}
  config = {'model': model, 'layout': LAYOUTS[family]}
  weights.save(path, params, config, dtype=dtype, facts={})
  return params
