"""Layers that flax has, used in the form that is fast here."""

from collections.abc import Callable

import flax.linen as nn
from jaxtyping import Array, Float


def flat(
  layer: nn.Dense,
) -> Callable[[Float[Array, '...']], Float[Array, '...']]:
  """Applies a dense layer to all tokens as one matrix.

  Over several leading axes XLA contracts them one by one for the weights'
  gradient, which halves its speed on a CPU; elsewhere it makes no difference.
  """

  def apply(x):
    y = layer(x.reshape(-1, x.shape[-1]))
    return y.reshape(*x.shape[:-1], layer.features)

  return apply
