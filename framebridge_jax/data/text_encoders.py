"""Text encoders that were ported: what is read of them, and how.

An encoder is loaded, used and gone from the devices again, so that a video
model finds them free.
"""

import dataclasses
import functools
import types
from collections.abc import Callable, Generator, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jaxtyping import Bool, Float

from framebridge_jax.data import tokens
from framebridge_jax.models import bert, t5
from framebridge_jax.porting import encoders, weights


class Vectors(NamedTuple):
  """What is kept of a caption; a sentence's vector counts as one token.

  The mask is false for padding.
  """

  values: Float[np.ndarray, 'n d']
  mask: Bool[np.ndarray, 'n']


@dataclasses.dataclass(frozen=True, kw_only=True)
class Encoder:
  """An encoder of captions that is not loaded yet.

  Attributes:
    path: of its weight file.
    family: a row of READINGS.
    network: without parameters.
    tokenizer: what makes ids of captions.
    layer: which of the family's layers is kept.
  """

  path: epath.PathLike
  family: str
  network: nn.Module
  tokenizer: tokens.Tokenizer
  layer: str

  @property
  def shape(self) -> tuple[int, int]:
    """Of an entry."""
    sentence = READINGS[self.family].layers[self.layer].sentence
    return 1 if sentence else self.tokenizer.length, self.network.width


def open_encoder(
  path: epath.PathLike,
  tokenizer: epath.PathLike,
  *,
  kind: str = '',
  length: int = 0,
  layer: str = '',
  dtype: Any = jnp.float32,
) -> Encoder:
  """Judges an encoder and its tokenizer; no weights are read.

  Args:
    path: a weight file that `--mode=port` wrote.
    tokenizer: a file of its tokenizer, or their folder.
    kind: of tokenizer; '' is the family's own, or the layout's.
    length: of a caption in tokens; 0 is the family's own.
    layer: which is kept; '' is the family's first, or the layout's.
    dtype: of matrix products.

  Raises:
    ValueError: a file cannot be used, or they do not fit together.
  """
  network = encoders.peek(path, tuple(READINGS), dtype)
  config = weights.config_of(path)
  family = config['model']['name']
  row = READINGS[family]
  usual = row.usual.get(
    config.get('layout', ''), Usual(row.kind, next(iter(row.layers)))
  )
  layer = layer or usual.layer
  if layer not in row.layers:
    raise ValueError(
      f'layer is {layer!r}, want for {family} one of {", ".join(row.layers)}'
    )
  opened = tokens.open_tokenizer(
    tokenizer, kind or usual.kind, length or row.length
  )
  if not network.vocab - row.spare <= opened.size <= network.vocab:
    raise ValueError(
      f'{tokenizer} has {opened.size} tokens, {path} knows {network.vocab}; '
      f'give the tokenizer of its checkpoint'
    )
  most = getattr(network, 'length', opened.length)
  if opened.length > most:
    raise ValueError(
      f'length is {opened.length}, but {path} reads at most {most} tokens'
    )
  return Encoder(
    path=path, family=family, network=network, tokenizer=opened, layer=layer
  )


def vectors(
  encoder: Encoder,
  made: tokens.Tokens,
  rows: list[int],
  *,
  batch_size: int,
) -> Generator[tuple[int, Vectors], None, None]:
  """Loads the encoder and reads some rows of tokens, in batches of one shape.

  Without rows it is not loaded.  When the last is given, or the generator is
  closed, no array of it is left.

  Raises:
    ValueError: the weights cannot be read.
  """
  if not rows:
    return
  layer = READINGS[encoder.family].layers[encoder.layer]
  size = min(batch_size, len(rows))
  network, variables, _ = encoders.load(
    encoder.path, (encoder.family,), encoder.network.dtype
  )
  try:
    for start in range(0, len(rows), size):
      batch = rows[start : start + size]
      # The last batch repeats its last row.
      padded = (batch + batch[-1:] * size)[:size]
      ids, mask = (jnp.asarray(x[padded]) for x in made[:2])
      with jax.default_matmul_precision('highest'):
        values = np.array(layer.run(network, variables, ids, mask))
      del ids, mask
      for row, x in zip(batch, values, strict=False):
        seen = np.ones(1, bool) if layer.sentence else made.mask[row]
        yield row, Vectors(x, seen)
  finally:
    # Not left to whoever else may hold on to them.
    for x in jax.tree.leaves(variables):
      x.delete()


class Layer(NamedTuple):
  """What is kept of an encoder's answer.

  Attributes:
    run: values of a network, its variables, ids and mask.
    sentence: whether a caption gets one vector, not one for each token.
  """

  run: Callable[..., jax.Array]
  sentence: bool = False


class Usual(NamedTuple):
  """What encoders are used with where nothing is said: kind and layer."""

  kind: str
  layer: str


class Reading(NamedTuple):
  """How encoders of a family read captions.

  Attributes:
    kind: of their tokenizer.
    length: of a caption in tokens.
    layers: what can be kept, the usual first.
    spare: rows that a table of embeddings may have more than tokens.
    usual: other kinds and layers, by the layout that the checkpoint had.
  """

  kind: str
  length: int
  layers: dict[str, Layer]
  spare: int = 0
  usual: Mapping[str, Usual] = types.MappingProxyType({})


def _t5(network, variables, ids, mask):
  """As CogVideoX has it: padding takes part."""
  del mask
  return t5.by_block(network, variables, ids)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _clip(part, network, variables, ids, mask):
  """A tower looks back alone, so that padding, which is last, has no say."""
  del mask
  return getattr(network.apply(variables, ids), part)


@functools.partial(jax.jit, static_argnums=0)
def _bert(network, variables, ids, mask):
  return network.apply(variables, ids, mask)


@functools.partial(jax.jit, static_argnums=0)
def _sentence(network, variables, ids, mask):
  return bert.pool(network.apply(variables, ids, mask), mask)[:, None]


READINGS = {
  # 100 words for gaps, and rows up to a multiple of 128.
  't5': Reading('t5', 226, {'last': Layer(_t5)}, spare=128),
  'clip_text': Reading(
    'clip',
    77,
    {
      part: Layer(functools.partial(_clip, part))
      for part in ('last', 'penultimate')
    },
    # Whoever reads files under OpenCLIP's names reads this layer.
    usual={
      layout: Usual('openclip', 'penultimate')
      for layout in ('open_clip', 'video_crafter')
    },
  ),
  'bert': Reading(
    'bert', 256, {'mean': Layer(_sentence, True), 'last': Layer(_bert)}
  ),
}
