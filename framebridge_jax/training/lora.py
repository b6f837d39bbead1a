"""Low-rank adaptation: matrices that train beside frozen ones.

A chosen matrix `W` of the model becomes

  W + (alpha / rank) A B,      A [in, rank] at random, B [rank, out] zero

(Hu et al. 2022, Eq. 3, with columns for rows), and A and B alone train.  It is
a transform of parameter trees: A and B stand under `lora/` by the name of their
matrix, and what a network is given are the sums.  So it serves any network,
scanned layers included, whose matrices are stacked along a leading axis.

The sum is formed at each step, and so is the gradient of W, from which those
of A and B follow: what is spared is the memory of averages and of the
optimizer, not the products of a step.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import traverse_util
from flax.core import meta
from jaxtyping import Array, Key, PyTree

BRANCH = 'lora'
_LAYERS = 'layers'  # the axis along which scanned layers are stacked


class LoraError(ValueError):
  """A tree cannot be adapted."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lora:
  """Which matrices are adapted, and how.

  Attributes:
    rank: of the change; columns of A.
    alpha: the change is `alpha / rank` times A B; with `alpha` kept a learning
      rate serves any rank.
    targets: regex searched in the `/`-joined names of parameters.
    also: regex of parameters that train beside A and B; '' is found in none.
  """

  rank: int
  alpha: float
  targets: str
  also: str = ''

  @property
  def frozen(self) -> str:
    """A regex of the names of what does not train."""
    return f'^(?!{BRANCH}/)' + (f'(?!.*(?:{self.also}))' if self.also else '')

  def grown(
    self, init: Callable[[Key[Array, '']], PyTree]
  ) -> Callable[[Key[Array, '']], PyTree]:
    """The model's init, and A and B beside what it gives.

    What was there is as it would be without; boxes of axis names are kept.
    """

    def make(key):
      params = init(key)
      return {
        **params,
        BRANCH: self._beside(params, jax.random.fold_in(key, 1)),
      }

    return make

  def merged(self, params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that the network is given: sums, and no A and B."""
    params = dict(params)
    pairs: dict[str, Any] = _flat(params.pop(BRANCH, {}))
    flat: dict[str, Any] = _flat(params)
    for name in self._names(flat) if pairs else ():
      change = jnp.matmul(
        pairs[f'{name}/a'],
        pairs[f'{name}/b'],
        precision=jax.lax.Precision.HIGHEST,
      )
      flat[name] = flat[name] + (self.alpha / self.rank) * change
    return traverse_util.unflatten_dict(flat, sep='/')

  def _beside(self, params, key):
    if BRANCH in params:
      raise LoraError(
        f'the parameters hold {BRANCH}/ already, and one adaptation is not put '
        f'on another; export the run, which merges it, and start from that'
      )
    flat = _flat(params)
    names = self._names(flat)
    if not names:
      raise LoraError(
        f'lora.targets {self.targets!r} is found in no parameter; they are '
        f'named as {", ".join(sorted(flat)[:_SHOWN])}'
      )
    pairs = {
      f'{name}/{side}': x
      for i, name in enumerate(names)
      for side, x in self._pair(
        name, flat[name], jax.random.fold_in(key, i)
      ).items()
    }
    return traverse_util.unflatten_dict(pairs, sep='/')

  def _names(self, flat):
    return [name for name in flat if re.search(self.targets, name)]

  def _pair(self, name, boxed, key):
    value = meta.unbox(boxed)
    axes = _axes(boxed, value.ndim)
    if value.ndim < 2 or any(axis != _LAYERS for axis in axes[:-2]):
      raise LoraError(
        f'lora.targets {self.targets!r} takes {name} of shape {value.shape}, '
        f'which is no matrix; name dense layers, as in '
        f"'/(qkv|out|mlp_in|mlp_out)/kernel$'"
      )
    *stack, width, out = value.shape
    a = jax.random.normal(key, (*stack, width, self.rank)) * width**-0.5
    b = jnp.zeros((*stack, self.rank, out), jnp.float32)
    return {
      'a': nn.LogicallyPartitioned(a, (*axes[:-1], None)),
      'b': nn.LogicallyPartitioned(b, (*axes[:-2], None, axes[-1])),
    }


def _flat(tree):
  return traverse_util.flatten_dict(tree, sep='/')


def _axes(boxed, ndim):
  """Names of an array's axes, None where it has none."""
  names = boxed.names if isinstance(boxed, nn.LogicallyPartitioned) else ()
  return names or (None,) * ndim


_SHOWN = 5  # names in one message
