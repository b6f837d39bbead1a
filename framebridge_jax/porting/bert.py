"""Rows for the encoder of BERT, under the names of transformers.

`bert.` stands before them where a head follows.  The layer that pools the
first token is passed over: sentences are pooled over all their tokens here.
"""

import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax.numpy as jnp

from framebridge_jax.models import bert
from framebridge_jax.porting import family, rules


def look(
  specs: family.Specs, size: Mapping[str, Any], said: Mapping[str, Any]
) -> family.Found:
  """Reads an encoder's sizes off a checkpoint's shapes.

  Args:
    specs: names and shapes of the tensors.
    size: what shapes do not say, `heads`; other options must be those of the
      checkpoint.
    said: nothing of it is wanted.

  Raises:
    rules.PortError: it holds no such encoder, or one of another size.
  """
  del said
  found = next((k for k, x in LAYOUTS.items() if x + _TOKENS in specs), None)
  if found is None:
    known = ' nor '.join(x + _TOKENS for x in LAYOUTS.values())
    raise rules.PortError(
      f'the checkpoint has neither {known}; its first tensor is '
      f'{min(specs, default="none")}, so it is no BERT'
    )
  prefix = LAYOUTS[found]
  vocab, width = family.shape_of(specs, prefix + _TOKENS, 'vocab width')
  length, _ = family.shape_of(specs, prefix + _POSITIONS, 'length width')
  types, _ = family.shape_of(specs, prefix + _TYPES, 'types width')
  mlp, _ = family.shape_of(specs, _name_of_mlp(prefix, 0), 'mlp width')
  depth = 1
  while _name_of_mlp(prefix, depth) in specs:
    depth += 1
  seen = {
    'vocab': vocab,
    'length': length,
    'types': types,
    'width': width,
    'depth': depth,
    'mlp': mlp,
  }
  family.judge_size(size, seen)
  return family.Found(
    options={**size, **seen},
    layout=found,
    skipped=family.beside(specs, prefix, _SIBLINGS),
  )


def _name_of_mlp(prefix, i):
  return f'{prefix}encoder.layer.{i}.intermediate.dense.weight'


def judge_config(path: pathlib.Path, size: Mapping[str, Any]) -> None:
  """Compares a `config.json` of transformers beside a checkpoint.

  Relatives of BERT have its shapes and count positions otherwise.

  Raises:
    rules.PortError: it is of another network.
  """
  config = family.config_beside(path)
  if 'model_type' not in config:
    return
  wanted = {
    'model_type': 'bert',
    'hidden_act': 'gelu',
    'layer_norm_eps': 1e-12,
    'num_attention_heads': size['heads'],
    'position_embedding_type': 'absolute',
  }
  family.judge_said(config, wanted)


def shapes(network: bert.Bert) -> dict[str, tuple[int, ...]]:
  """Shapes of its parameters by path."""
  ids = jnp.zeros((1, 1), jnp.int32)
  return family.shapes_of(network.init, ids, ids == 0)


def rows(network: bert.Bert, layout: str) -> family.Rows:
  """The table of an encoder.

  Args:
    network: the encoder.
    layout: a row of LAYOUTS.
  """
  prefix = LAYOUTS[layout]
  table = [
    rules.Rule(_TOKENS, 'tokens', rules.vector),
    rules.Rule(_POSITIONS, 'positions', rules.vector),
    rules.Rule(_TYPES, 'types', rules.vector),
    *rules.norm('embeddings.LayerNorm', 'norm'),
  ]
  for i in range(network.depth):
    table += _block(f'encoder.layer.{i}', f'block_{i}')
  return [row._replace(source=prefix + row.source) for row in table]


def _block(source, target) -> Iterator[rules.Rule]:
  inner = f'{source}.attention.self'
  yield from rules.dense(f'{inner}.query', f'{target}/attention/q')
  yield from rules.dense(f'{inner}.key', f'{target}/attention/k')
  yield from rules.dense(f'{inner}.value', f'{target}/attention/v')
  output = f'{source}.attention.output'
  yield from rules.dense(f'{output}.dense', f'{target}/attention/out')
  yield from rules.norm(f'{output}.LayerNorm', f'{target}/norm_1')
  yield from rules.dense(f'{source}.intermediate.dense', f'{target}/mlp/in')
  yield from rules.dense(f'{source}.output.dense', f'{target}/mlp/out')
  yield from rules.norm(f'{source}.output.LayerNorm', f'{target}/norm_2')


_TOKENS = 'embeddings.word_embeddings.weight'
_POSITIONS = 'embeddings.position_embeddings.weight'
_TYPES = 'embeddings.token_type_embeddings.weight'
_SIBLINGS = ('embeddings.position_ids', 'pooler.')
LAYOUTS = {'encoder': '', 'with_head': 'bert.'}
# nreimers/MiniLM-L6-H384-uncased, on which all-MiniLM-L6-v2 was trained.
PORTS = {
  'minilm_l6': {
    'length': 512,
    'types': 2,
    'width': 384,
    'depth': 6,
    'heads': 12,
    'mlp': 1536,
  }
}
