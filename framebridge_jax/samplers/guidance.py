"""Guidance as a transform of denoisers."""

from jaxtyping import Array, Float

from framebridge_jax.samplers import loop


def classifier_free(
  given: loop.Denoise, null: loop.Denoise, scale: Float[Array, '']
) -> loop.Denoise:
  """Pushes the answer away from the unconditional one (Ho & Salimans 2022).

  `x0 = null + scale (given - null)`: 1 is the conditional answer, 0 the
  unconditional one.  Both denoisers must share one prior.
  """

  def guided(zt, t):
    x0_null = null(zt, t).x0
    return loop.Answer(x0_null + scale * (given(zt, t).x0 - x0_null))

  return guided
