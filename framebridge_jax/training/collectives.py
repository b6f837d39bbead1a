"""What a compiled program sends between devices, read from its text.

The compiler inserts the communication, so what there is of it stands in the
compiled program alone (HLO, after partitioning).  A loop's body counts as often
as the loop runs.  With groups of n devices and S bytes of the whole result, or
of the whole input of a reduce-scatter, each device sends

  all-reduce                             2 (n - 1) / n  S
  all-gather, reduce-scatter, all-to-all   (n - 1) / n  S
  collective-permute                                    S

in the bandwidth-optimal rings that libraries use (Thakur et al. 2005).
"""

import collections
import functools
import itertools
import math
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from framebridge_jax.training import trips

KINDS = {
  'all-reduce': lambda n, size: 2 * (n - 1) / n * size,
  'all-gather': lambda n, size: (n - 1) / n * size,
  'reduce-scatter': lambda n, size: (n - 1) * size,  # its result is a part
  'all-to-all': lambda n, size: (n - 1) / n * size,
  'collective-permute': lambda n, size: size,
}


class Collective(NamedTuple):
  """One kind of exchange, of all its places in the program.

  Attributes:
    kind: a key of KINDS.
    axes: of the mesh, along which devices exchange; 'other' for groups that
      are no axes.
    devices: in a group.
    count: how often a step does it.
    size: bytes of the results on a device, all together.
    sent: bytes that a device sends, all together.
  """

  kind: str
  axes: str
  devices: int
  count: int
  size: float
  sent: float


def read(text: str, mesh: Mapping[str, int]) -> list[Collective]:
  """The collectives of a compiled program, those that send most first.

  Args:
    text: `compiled.as_text()`.
    mesh: sizes of the axes that the program was partitioned for, in order.

  Raises:
    ValueError: a loop of unknown length exchanges something.
  """
  found: dict[tuple, list[float]] = collections.defaultdict(lambda: [0, 0, 0])
  names = _axes_of_groups(tuple(mesh.items()))
  for times, kind, line in _walk(_computations(text)):
    groups = _groups(line, math.prod(mesh.values()))
    n = max(map(len, groups))
    if n == 1:
      continue
    if kind == 'collective-permute':
      axes = names.get(_reach(groups, tuple(mesh.items())), 'other')
    else:
      axes = names.get(frozenset(map(frozenset, groups)), 'other')
    size = _result_bytes(line, kind)
    row = found[kind, axes, n]
    row[0] += times
    row[1] += times * size
    row[2] += times * KINDS[kind](n, size)
  rows = [
    Collective(kind, axes, n, int(count), size, sent)
    for (kind, axes, n), (count, size, sent) in found.items()
  ]
  return sorted(rows, key=lambda row: -row.sent)


def _computations(text):
  """Lines of instructions by the name of their computation; '' is the entry."""
  found, current = {}, None
  for line in text.splitlines():
    head = _HEAD.match(line)
    if head:
      current = found.setdefault(head['name'], [])
      if head['entry']:
        found[''] = current
    elif line.startswith('}'):
      current = None
    elif current is not None:
      current.append(line)
  return found


def _walk(computations) -> Iterator[tuple[int, str, str]]:
  """(how often, kind, line) of every collective that the entry comes to."""
  stack = [('', 1)]
  while stack:
    name, times = stack.pop()
    lines = computations[name]
    for line in lines:
      match = _OPCODE.search(line)
      if not match:
        continue
      kind = match[1].removesuffix('-start')
      if kind in KINDS:
        yield times, kind, line
        continue  # what it calls adds two numbers
      often = times * _trips(match[1], line, lines, computations)
      for called in _CALLED.findall(line):
        for inner in re.findall(r'%?([\w.\-]+)', called):
          stack.append((inner, often))


def _trips(opcode, line, outside, computations):
  if opcode != 'while':
    return 1
  known = trips.count(line, outside, computations)
  if known is not None:
    return known
  body = re.search(r'body=%?([\w.\-]+)', line)
  inside = list(
    _walk({**computations, '': computations[body[1]]} if body else {})
  )
  if inside:
    raise ValueError(
      f'a loop of unknown length exchanges {inside[0][1]} between devices, '
      f'which cannot be counted; give its ends as numbers, or use scan'
    )
  return 1


def _groups(line, devices):
  """Groups of devices that exchange, by their places in the mesh."""
  pairs = re.search(r'source_target_pairs=\{(.*?)\}\}?', line)
  if pairs:
    return [
      list(map(int, pair.split(',')))
      for pair in re.findall(r'\d+,\d+', pairs[0])
    ]
  listed = re.search(r'replica_groups=\{(\{[\d,{}\s]*\})\}', line)
  if listed:
    return [
      list(map(int, group.split(',')))
      for group in re.findall(r'\{([\d,\s]+)\}', listed[1])
    ]
  iota = re.search(
    r'replica_groups=\[(?P<shape>[\d,]+)\]<=\[(?P<of>[\d,]+)\]'
    r'(?:T\((?P<order>[\d,]+)\))?',
    line,
  )
  if iota:
    return _counted(iota, _numbers(iota['shape'])).tolist()
  named = re.search(
    r'replica_groups=mesh\[(?P<sizes>[^\]]*)\]'
    r'(?:, device_ids=\(\[(?P<of>[\d,]+)\](?:T\((?P<order>[\d,]+)\))?\))? '
    r'\{(?P<axes>[^}]*)\}',
    line,
  )
  if named:
    return _along(named)
  return [list(range(devices))]


def _numbers(text):
  return [int(x) for x in text.split(',')]


def _counted(match, shape):
  """Numbers from 0, laid out as `of` and its `order` say, in another shape."""
  of = _numbers(match['of']) if match['of'] else shape
  places = np.arange(math.prod(of)).reshape(of)
  if match['order']:
    places = places.transpose(_numbers(match['order']))
  return places.reshape(shape)


def _along(match):
  """Groups along axes of a mesh that XLA names itself: `'a','b':(2)4`.

  The latter is a part of an axis: 4 of it, with 2 before.
  """
  sizes = {
    name: int(size)
    for name, size in re.findall(r"'(\w+)'=(\d+)", match['sizes'])
  }
  chosen = {
    name: (int(before or 1), int(size or sizes[name]))
    for name, before, size in re.findall(
      r"'(\w+)'(?::\((\d+)\)(\d+))?", match['axes']
    )
  }
  shape, moved = [], []
  for name, size in sizes.items():
    before, part = chosen.get(name, (size, 1))
    if name in chosen:
      moved.append(len(shape) + 1)
    shape += [before, part, size // before // part]
  places = _counted(match, list(sizes.values())).reshape(shape)
  places = np.moveaxis(places, moved, range(-len(moved), 0))
  return places.reshape(-1, math.prod(shape[i] for i in moved)).tolist()


@functools.cache
def _axes_of_groups(mesh):
  """Names of axes by the groups that they make of the mesh's places."""
  axes = [name for name, size in mesh if size > 1]
  found = {}
  for count in range(1, len(axes) + 1):
    for chosen in itertools.combinations(axes, count):
      found[_grouped(mesh, chosen)] = '+'.join(chosen)
  return found


def _grouped(mesh, chosen):
  sizes = [size for _, size in mesh]
  places = np.arange(math.prod(sizes)).reshape(sizes)
  moved = [i for i, (name, _) in enumerate(mesh) if name in chosen]
  places = np.moveaxis(places, moved, range(-len(moved), 0))
  count = math.prod(sizes[i] for i in moved)
  return frozenset(map(frozenset, places.reshape(-1, count).tolist()))


def _reach(pairs, mesh):
  """The groups of the fewest axes along which all pairs lie."""
  sizes = [size for _, size in mesh]
  ends = [
    np.array(np.unravel_index(x, sizes)) for x in zip(*pairs, strict=True)
  ]
  differ = (ends[0] != ends[1]).any(axis=1)
  chosen = tuple(
    name for (name, _), moves in zip(mesh, differ, strict=True) if moves
  )
  return _grouped(mesh, chosen)


def _result_bytes(line, kind):
  """Bytes of the result on a device.

  What a `-start` of most kinds gives holds its input, too: the result is the
  second part.
  """
  result = line.partition('=')[2].partition(f' {kind}')[0]
  parts = [
    _BYTES[dtype] * math.prod(map(int, filter(None, dims.split(','))))
    for dtype, dims in re.findall(r'(\w+)\[([\d,]*)\]', result)
    if dtype in _BYTES
  ]
  if f'{kind}-start' in line and kind != 'all-reduce':
    words = [x for x in parts if x]
    return max(words)
  return sum(parts)


_HEAD = re.compile(r'^(?P<entry>ENTRY )?%?(?P<name>[\w.\-]+) \(.*\{$')
# A type may hold brackets of its own, so the word before the first "name(" that
# follows a closed type is looked for.
_OPCODE = re.compile(r'[\]})]\s+([a-z][\w\-]*)\(')
_CALLED = re.compile(
  r'(?:calls|to_apply|body|condition|true_computation|false_computation|'
  r'branch_computations)=(\{[^}]*\}|%?[\w.\-]+)'
)
_BYTES = {
  'pred': 1,
  's8': 1,
  'u8': 1,
  's16': 2,
  'u16': 2,
  'f16': 2,
  'bf16': 2,
  's32': 4,
  'u32': 4,
  'f32': 4,
  's64': 8,
  'u64': 8,
  'f64': 8,
}
