"""The language of porting: one row a tensor, read forwards and backwards.

A rule names a tensor of another project, ours, and the rearrangement between
them, which keeps every bit.  A table of rules is refused when

  1. two rules read the same source,      2. a source is read by no rule,
  3. a target is none of the model's,     4. two rules fill the same target,
  5. shape or dtype differ after the rearrangement, or a target stays empty.
"""

import collections
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import einops
import ml_dtypes
import numpy as np

from framebridge_jax.porting import readers


class PortError(ValueError):
  """A checkpoint does not fit the model."""


class Transform(NamedTuple):
  """A rearrangement and its inverse, of arrays and of shapes."""

  forward: Callable[[np.ndarray], np.ndarray]
  back: Callable[[np.ndarray], np.ndarray]


class Rule(NamedTuple):
  """A row: the source's name, the target's path, and what lies between."""

  source: str
  target: str
  transform: Transform


class Fixed(NamedTuple):
  """A row for a table that we compute: compared, and kept for the way back."""

  source: str
  value: np.ndarray


class Twin(NamedTuple):
  """A row for a tensor that stands twice, behind the row of the first."""

  source: str
  target: str
  transform: Transform


class Split(NamedTuple):
  """A row for several targets that a source stacks on its first axis."""

  source: str
  targets: tuple[str, ...]
  transform: Transform


Row = Rule | Fixed | Twin | Split


class Line(NamedTuple):
  """One line of a port's report."""

  source: str
  target: str
  source_shape: tuple[int, ...]
  target_shape: tuple[int, ...]
  dtype: str
  sha256: str


class Ported(NamedTuple):
  """Parameters by path, tables kept for export, and what went where."""

  params: dict[str, np.ndarray]
  kept: dict[str, np.ndarray]
  lines: list[Line]


def same(x: np.ndarray) -> np.ndarray:
  """Leaves an array as it is."""
  return x


vector = Transform(same, same)
# PyTorch keeps a linear layer as [out, in], flax as [in, out].
linear = Transform(np.transpose, np.transpose)


def patches(side: int) -> Transform:
  """A strided convolution [out, in, p, q] as a linear layer over (p q in)."""
  return Transform(
    lambda x: einops.rearrange(x, 'd c p q -> (p q c) d'),
    lambda x: einops.rearrange(x, '(p q c) d -> d c p q', p=side, q=side),
  )


def dense(source: str, target: str) -> list[Rule]:
  """Weight and bias of a linear layer."""
  return [
    Rule(f'{source}.weight', f'{target}/kernel', linear),
    Rule(f'{source}.bias', f'{target}/bias', vector),
  ]


def norm(source: str, target: str) -> list[Rule]:
  """Scale and bias of a norm."""
  return [
    Rule(f'{source}.weight', f'{target}/scale', vector),
    Rule(f'{source}.bias', f'{target}/bias', vector),
  ]


def port(
  reader: readers.Reader,
  rules: Sequence[Row],
  shapes: Mapping[str, tuple[int, ...]],
  dtype: np.dtype,
) -> Ported:
  """Reads a checkpoint into parameters of the given paths and shapes.

  All names and shapes are judged before the first number is read; tensors are
  read one at a time.

  Raises:
    PortError: one of the five refusals; it names the tensor and its shapes.
  """
  judge(reader.specs, rules, shapes)
  params, kept, lines = {}, {}, []
  for rule in rules:
    x = reader.read(rule.source)
    raw = np.ascontiguousarray(x).view(np.uint8).data
    digest = hashlib.sha256(raw).hexdigest()
    if isinstance(rule, Fixed):
      _judge_fixed(rule, x)
      kept[rule.source] = x
    elif isinstance(rule, Twin):
      _judge_twin(rule, digest, lines)
    else:
      for target, part in zip(_targets(rule), _parts(rule, x), strict=True):
        params[target] = _turned(rule, part).astype(dtype, copy=False)
    for target in _targets(rule) or ('(computed)',):
      shape = shapes.get(target, x.shape)
      lines.append(
        Line(rule.source, target, x.shape, shape, x.dtype.name, digest)
      )
  return Ported(params, kept, lines)


def _turned(rule, x):
  y = np.asarray(rule.transform.forward(x), order='C')
  if not np.isfinite(y.astype(np.float32, copy=False)).all():
    raise PortError(
      f'{rule.source} {x.shape} holds numbers that are not finite'
    )
  return y


def _judge_twin(rule, digest, lines):
  first = next(line for line in lines if line.target == rule.target)
  if digest != first.sha256:
    raise PortError(
      f'{rule.source} {first.source_shape} and {first.source} both fill '
      f'{rule.target} of the model, but hold different numbers'
    )


def export(
  params: Mapping[str, np.ndarray],
  kept: Mapping[str, np.ndarray],
  rules: Sequence[Row],
) -> dict[str, np.ndarray]:
  """The table read backwards: the other project's state dict, bit for bit.

  Raises:
    PortError: the table and the parameters do not name the same tensors.
  """
  targets = set(_filled(rules))
  _refuse(targets - params.keys(), 'is missing in the weights')
  _refuse(params.keys() - targets, 'of the weights has no name there')
  return {
    rule.source: kept.get(rule.source, rule.value)
    if isinstance(rule, Fixed)
    else np.asarray(_back(rule, params), order='C')
    for rule in rules
  }


def judge(
  specs: Mapping[str, readers.Spec],
  rules: Sequence[Row],
  shapes: Mapping[str, tuple[int, ...]],
) -> None:
  """Compares names, shapes and dtypes; no number is needed.

  Raises:
    PortError: one of the five refusals; it names the tensor and its shapes.
  """
  sources = collections.Counter(rule.source for rule in rules)
  targets = collections.Counter(_filled(rules))
  _refuse([n for n, k in sources.items() if k > 1], 'is read by two rules')
  _refuse([n for n, k in targets.items() if k > 1], 'is filled by two rules')
  _refuse(targets.keys() - shapes.keys(), 'is none of the model')
  _refuse(
    shapes.keys() - targets.keys(), 'of the model is filled by no rule', shapes
  )
  wanted = source_shapes(rules, shapes)
  missing = [n for n in sources if n not in specs]
  _refuse(missing, 'is missing in the checkpoint', wanted)
  held = {name: spec.shape for name, spec in specs.items()}
  extra = [n for n in specs if n not in sources]
  _refuse(extra, 'of the checkpoint is no part of the model', held)
  for rule in rules:
    if held[rule.source] != wanted[rule.source]:
      what = ', '.join(_targets(rule)) or 'the computed table'
      raise PortError(
        f'{rule.source} of the checkpoint is {held[rule.source]}, but '
        f'{what} of the model wants {wanted[rule.source]}'
      )
    dtype = specs[rule.source].dtype
    if dtype.kind != 'f' and dtype.name != 'bfloat16':
      raise PortError(
        f'{rule.source} {held[rule.source]} holds {dtype.name}, want '
        f'floating-point numbers'
      )


def source_shapes(
  rules: Iterable[Row], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
  """Shapes that a state dict of the model has, by the source's names."""
  return {
    rule.source: rule.value.shape
    if isinstance(rule, Fixed)
    else _back(
      rule, {target: _hollow(shapes[target]) for target in _targets(rule)}
    ).shape
    for rule in rules
  }


def _targets(rule):
  """What a row fills, or is compared with."""
  if isinstance(rule, Split):
    return rule.targets
  return () if isinstance(rule, Fixed) else (rule.target,)


def _filled(rules):
  return [
    target
    for rule in rules
    if not isinstance(rule, Twin)
    for target in _targets(rule)
  ]


def _parts(rule, x):
  """A source as its row's targets want it, before they turn it."""
  return np.split(x, len(rule.targets)) if isinstance(rule, Split) else [x]


def _back(rule, arrays):
  """A source of a row's targets."""
  parts = [rule.transform.back(arrays[name]) for name in _targets(rule)]
  return np.concatenate(parts) if isinstance(rule, Split) else parts[0]


def _hollow(shape):
  """An array of a shape without its memory."""
  return np.broadcast_to(np.zeros((), np.int8), shape)


def _refuse(names, complaint, shapes=None):
  names = sorted(names)
  if names:
    shape = f' {tuple(shapes[names[0]])}' if shapes else ''
    more = f' (and {len(names) - 1} more)' if names[1:] else ''
    raise PortError(f'{names[0]}{shape} {complaint}{more}')


def _judge_fixed(rule, x):
  apart = np.abs(x.astype(np.float64) - rule.value).max()
  rounding = float(ml_dtypes.finfo(x.dtype).eps) * np.abs(rule.value).max()
  if not apart <= max(_FIXED_TOLERANCE, rounding):
    raise PortError(
      f'{rule.source} differs by {apart:.2g} from the table that the model '
      f'computes'
    )


_FIXED_TOLERANCE = 1e-5
