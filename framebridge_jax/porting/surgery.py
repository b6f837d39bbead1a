"""Changes to Latte's parameters for a warm start in a network that differs.

`adapt` takes weights to the shapes of a network that sees more channels, knows
other classes, or scans its blocks.  The function of the network on its old
inputs stays as it was; everything else is left to a strict fit.
"""

import re
from collections.abc import Mapping

import numpy as np


class SurgeryError(ValueError):
  """Weights cannot take the shapes of the network."""


Flat = dict[str, np.ndarray]
Shapes = Mapping[str, tuple[int, ...]]

PATCHES, LABELS = 'params/patches/kernel', 'params/labels/embedding'


def adapt(weights: Flat, shapes: Shapes, *, patch: int) -> Flat:
  """Gives the weights the shapes of another network where it knows how.

  Args:
    weights: by path.
    shapes: of the network's parameters, by path.
    patch: side of its patches.

  Raises:
    SurgeryError: the network sees fewer channels than the weights.
  """
  scanned = any(name.startswith(_SCANNED) for name in shapes)
  weights = (
    stack_pairs(unstack_pairs(weights)) if scanned else unstack_pairs(weights)
  )
  if PATCHES in weights and PATCHES in shapes:
    weights[PATCHES] = widen(weights[PATCHES], shapes[PATCHES], patch=patch)
  if LABELS in weights and LABELS in shapes:
    weights[LABELS] = resize_labels(weights[LABELS], shapes[LABELS][0])
  return weights


def widen(
  kernel: np.ndarray, shape: tuple[int, ...], *, patch: int
) -> np.ndarray:
  """A patch kernel `[p q c, d]` with more channels, which it does not hear.

  New channels come last, where a prior stands, and have zeros.

  Raises:
    SurgeryError: there are fewer channels, or other tokens.
  """
  have, want = (rows // patch**2 for rows in (len(kernel), shape[0]))
  if want < have or kernel.shape[1] != shape[1]:
    raise SurgeryError(
      f'a patch kernel of {have} channels {kernel.shape} cannot be widened to '
      f'{want} {tuple(shape)}'
    )
  wide = np.zeros((patch**2, want, shape[1]), kernel.dtype)
  wide[:, :have] = np.reshape(kernel, (patch**2, have, shape[1]))
  return wide.reshape(shape)


def resize_labels(table: np.ndarray, rows: int) -> np.ndarray:
  """A class table of another length; the null class stays last.

  Classes beyond the old ones start as the null class.
  """
  classes, null = table[:-1], table[-1:]
  kept = classes[: rows - 1]
  new = np.repeat(null, rows - len(kept), axis=0)
  return np.concatenate([kept, new])


def stack_pairs(weights: Flat) -> Flat:
  """Blocks by number become the layers of one scanned pair."""
  pairs: dict[str, dict[int, np.ndarray]] = {}
  rest = {}
  for name, x in weights.items():
    match = _BLOCK.fullmatch(name)
    if match:
      kind, number, tail = match.groups()
      pairs.setdefault(f'{_SCANNED}{kind}/{tail}', {})[int(number)] = x
    else:
      rest[name] = x
  stacked = {
    name: np.stack([by_number[i] for i in range(len(by_number))])
    for name, by_number in pairs.items()
  }
  return rest | stacked


def unstack_pairs(weights: Flat) -> Flat:
  """The layers of a scanned pair become blocks by number."""
  flat = {}
  for name, x in weights.items():
    match = _LAYER.fullmatch(name)
    if match:
      kind, tail = match.groups()
      flat |= {f'params/{kind}_{i}/{tail}': x[i] for i in range(len(x))}
    else:
      flat[name] = x
  return flat


_SCANNED = 'params/pairs/'
_BLOCK = re.compile(r'params/(spatial|temporal)_(\d+)/(.*)')
_LAYER = re.compile(r'params/pairs/(spatial|temporal)/(.*)')
