"""Rows for the encoder of T5 v1.1, under the names of transformers.

The embedding table stands under `shared.weight`, under
`encoder.embed_tokens.weight`, or under both; a file of the whole model holds a
decoder besides.
"""

import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax.numpy as jnp

from framebridge_jax.models import t5
from framebridge_jax.porting import family, rules


def look(
  specs: family.Specs, size: Mapping[str, Any], said: Mapping[str, Any]
) -> family.Found:
  """Reads all sizes off a checkpoint's shapes.

  Args:
    specs: names and shapes of the tensors.
    size: what shapes do not say, `max_distance`; other options must be those
      of the checkpoint.
    said: nothing of it is wanted.

  Raises:
    rules.PortError: it is no encoder of T5 v1.1, or one of another size.
  """
  del said
  if _BIAS not in specs:
    raise rules.PortError(
      f'the checkpoint has no {_BIAS}; its first tensor is '
      f'{min(specs, default="none")}, so it is no T5 encoder'
    )
  if _UNGATED in specs:
    raise rules.PortError(
      f'the checkpoint has {_UNGATED}, so it is a T5 of version 1.0; its '
      f'layers have no gates, and only version 1.1 can be ported'
    )
  layout = next(
    (k for k, names in LAYOUTS.items() if specs.keys() >= set(names)), None
  )
  if layout is None:
    known = ' nor '.join(LAYOUTS['both'])
    raise rules.PortError(f'the checkpoint has neither {known}')
  vocab, width = family.shape_of(specs, LAYOUTS[layout][0], 'vocab width')
  buckets, heads = family.shape_of(specs, _BIAS, 'buckets heads')
  inner, _ = family.shape_of(specs, _QUERY, 'inner width')
  mlp, _ = family.shape_of(specs, _GATE, 'mlp width')
  seen = {
    'vocab': vocab,
    'width': width,
    'heads': heads,
    'head_width': inner // heads,
    'mlp': mlp,
    'depth': sum(name.endswith(_LAST) for name in specs),
    'buckets': buckets,
  }
  family.judge_size(size, seen)
  return family.Found(
    options={**size, **seen},
    layout=layout,
    skipped=tuple(name for name in specs if name.startswith(_SIBLINGS)),
  )


def judge_config(path: pathlib.Path, size: Mapping[str, Any]) -> None:
  """Compares a `config.json` of transformers beside a checkpoint.

  Raises:
    rules.PortError: its gates are of another activation, or its distances of
      another range.
  """
  config = family.config_beside(path)
  if config.get('model_type') == 't5':
    wanted = {
      'feed_forward_proj': 'gated-gelu',
      'relative_attention_max_distance': size['max_distance'],
      'layer_norm_epsilon': 1e-6,
    }
    family.judge_said(config, wanted)


def shapes(network: t5.T5Encoder) -> dict[str, tuple[int, ...]]:
  """Shapes of its parameters by path."""
  return family.shapes_of(network.init, jnp.zeros((1, 1), jnp.int32))


def rows(network: t5.T5Encoder, layout: str) -> family.Rows:
  """The table of a network.

  Args:
    network: the encoder.
    layout: a row of LAYOUTS.
  """
  table, *twins = LAYOUTS[layout]
  vector = rules.vector
  return [
    rules.Rule(table, 'tokens', vector),
    *(rules.Twin(name, 'tokens', vector) for name in twins),
    rules.Rule(_BIAS, 'distances', vector),
    *(row for i in range(network.depth) for row in _block(i)),
    rules.Rule('encoder.final_layer_norm.weight', 'norm/scale', vector),
  ]


def _block(i) -> Iterator[rules.Rule]:
  source, target = f'encoder.block.{i}.layer', f'block_{i}'
  for name, place in _KERNELS.items():
    yield rules.Rule(
      f'{source}.{name}.weight', f'{target}/{place}/kernel', rules.linear
    )
  for branch, place in enumerate(('attention_norm', 'mlp_norm')):
    yield rules.Rule(
      f'{source}.{branch}.layer_norm.weight',
      f'{target}/{place}/scale',
      rules.vector,
    )


_BIAS = 'encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight'
_QUERY = 'encoder.block.0.layer.0.SelfAttention.q.weight'
_GATE = 'encoder.block.0.layer.1.DenseReluDense.wi_0.weight'
_UNGATED = 'encoder.block.0.layer.1.DenseReluDense.wi.weight'
_LAST = '.layer.1.DenseReluDense.wo.weight'
_SIBLINGS = ('decoder.', 'lm_head.')
_KERNELS = {
  '0.SelfAttention.q': 'query',
  '0.SelfAttention.k': 'key',
  '0.SelfAttention.v': 'value',
  '0.SelfAttention.o': 'out',
  '1.DenseReluDense.wi_0': 'gate',
  '1.DenseReluDense.wi_1': 'up',
  '1.DenseReluDense.wo': 'down',
}
# Names of the embedding table, the fullest layout first.
LAYOUTS = {
  'both': ('shared.weight', 'encoder.embed_tokens.weight'),
  'shared': ('shared.weight',),
  'embed_tokens': ('encoder.embed_tokens.weight',),
}
# Public sizes: t5.1.1.{small,base,large,xl,xxl}.gin of Google's T5 code.
_SHARED = {'vocab': 32128, 'head_width': 64, 'max_distance': 128}
_SIZES = {
  'small': {'width': 512, 'heads': 6, 'mlp': 1024, 'depth': 8},
  'base': {'width': 768, 'heads': 12, 'mlp': 2048, 'depth': 12},
  'large': {'width': 1024, 'heads': 16, 'mlp': 2816, 'depth': 24},
  'xl': {'width': 2048, 'heads': 32, 'mlp': 5120, 'depth': 24},
  'xxl': {'width': 4096, 'heads': 64, 'mlp': 10240, 'depth': 24},
}
PORTS = {
  f't5_v1_1_{name}': {**_SHARED, **numbers} for name, numbers in _SIZES.items()
}
