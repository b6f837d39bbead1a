"""How often a loop of a compiled program runs.

The compiler of CPUs and GPUs writes it beside the loop.  That of TPUs does not,
so it is read from the loop itself: a number that starts at a constant, grows by
one in the body, and must be less than another constant.
"""

import re
from collections.abc import Mapping, Sequence

Computations = Mapping[str, Sequence[str]]  # lines of instructions by name


def count(
  loop: str, outside: Sequence[str], inside: Computations
) -> int | None:
  """The number of trips, or None where it is not to be seen.

  Args:
    loop: the line of the `while`.
    outside: lines of the computation that it stands in.
    inside: all computations.
  """
  told = re.search(r'known_trip_count"?:\s*\{"?n"?:\s*"?(\d+)', loop)
  if told:
    return int(told[1])
  called = {
    key: re.search(rf'{key}=%?([\w.\-]+)', loop)
    for key in ('condition', 'body')
  }
  if not all(called.values()):
    return None
  condition, body = (inside[match[1]] for match in called.values())
  end = _end(condition)
  if end is None:
    return None
  place, stop = end
  begin = _constant(_element(loop, 'while', outside, place), outside)
  if begin is None or not _grows_by_one(body, place):
    return None
  return max(stop - begin, 0)


def _end(condition):
  """(place of the number in the loop's tuple, bound) of `number < bound`."""
  root = next(line for line in condition if 'ROOT ' in line)
  operands = _operands(root, 'compare')
  if len(operands) != 2 or 'direction=LT' not in root:
    return None
  place, stop = (
    _place(operands[0], condition),
    _constant(operands[1], condition),
  )
  return None if None in (place, stop) else (place, stop)


def _grows_by_one(body, place):
  root = next(line for line in body if 'ROOT ' in line)
  elements = _operands(root, 'tuple')
  line = _line(elements[place], body) if place < len(elements) else ''
  operands = _operands(line, 'add')
  return (
    len(operands) == 2
    and _place(operands[0], body) == place
    and _constant(operands[1], body) == 1
  )


def _element(line, opcode, lines, place):
  """The name of an element of the tuple that an instruction is given."""
  operands = _operands(line, opcode)
  elements = _operands(_line(operands[0], lines), 'tuple') if operands else []
  return elements[place] if place < len(elements) else ''


def _place(name, lines):
  """Where in a tuple a name comes from, if it does."""
  match = re.search(r'get-tuple-element\(.*index=(\d+)', _line(name, lines))
  return int(match[1]) if match else None


def _constant(name, lines):
  """The whole number that a name stands for, if it does."""
  match = re.search(r' constant\((-?\d+)\)', _line(name, lines))
  return int(match[1]) if match else None


def _line(name, lines):
  """The instruction of a name; of copies, that of the original."""
  pattern = re.compile(rf'\s*(?:ROOT )?%?{re.escape(name)} = ')
  found = next((line for line in lines if pattern.match(line)), '')
  copied = _operands(found, 'copy')
  return _line(copied[0], lines) if copied else found


def _operands(line, opcode):
  """Names that an instruction is given; none, if it is of another kind."""
  match = re.search(rf' {opcode}\(([^()]*)\)', line)
  return re.findall(r'%([\w.\-]+)', match[1]) if match else []
