"""Which parameters train.

A tree of parameters, nested dictionaries as flax has them, comes apart by the
names of its leaves into what trains and what is frozen.  Gradients, averages
and an optimizer's state are of the first alone.
"""

import re
from collections.abc import Callable
from typing import Any

import jax
from flax import traverse_util
from jaxtyping import PyTree

# Whether the parameter of a `/`-joined name stays as it is.
Frozen = Callable[[str], bool]


def nothing(name: str) -> bool:
  """All parameters train."""
  del name
  return False


def matching(pattern: str) -> Frozen:
  """Frozen is what the regex is found in; '' is found in none."""
  if not pattern:
    return nothing
  search = re.compile(pattern).search
  return lambda name: search(name) is not None


def split(params: PyTree, frozen: Frozen) -> tuple[PyTree, PyTree]:
  """What trains, and what is frozen: two trees of disjoint leaves.

  With `nothing` frozen the first is the tree itself, whatever it is made of.
  """
  if frozen is nothing:
    return params, {}
  parts: tuple[dict[str, Any], ...] = ({}, {})
  for name, x in traverse_util.flatten_dict(params, sep='/').items():
    parts[frozen(name)][name] = x
  trained, rest = (traverse_util.unflatten_dict(x, sep='/') for x in parts)
  return trained, rest


def joined(trained: PyTree, rest: PyTree) -> PyTree:
  """The tree that `split` took apart."""
  return over(rest, trained) if rest else trained


def over(params: PyTree, part: PyTree) -> PyTree:
  """The tree with the leaves of a part of it in the place of its own."""
  flat = {
    **traverse_util.flatten_dict(params, sep='/'),
    **traverse_util.flatten_dict(part, sep='/'),
  }
  return traverse_util.unflatten_dict(flat, sep='/')


def like(part: PyTree, params: PyTree) -> PyTree:
  """The leaves of a tree that a part of it has."""
  if jax.tree.structure(part) == jax.tree.structure(params):
    return params
  flat = traverse_util.flatten_dict(params, sep='/')
  names = traverse_util.flatten_dict(part, sep='/')
  return traverse_util.unflatten_dict({x: flat[x] for x in names}, sep='/')
