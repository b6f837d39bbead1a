"""The inception score (Salimans et al. 2016).

    IS = exp mean_i KL(p(y | x_i) || p(y)),    p(y) = mean_i p(y | x_i)

High where the classifier is sure of each clip and finds many classes.  As usual
it is the mean over ten parts of the samples; here clips go to the parts by
random numbers of a fixed seed, in the order of their names.
"""

import numpy as np
from jaxtyping import Float

PARTS = 10
_SEED = 0


def score(probabilities: Float[np.ndarray, 'n classes'], parts: int = PARTS):
  """Mean of the parts' scores, at least 1 and at most the number of classes.

  Raises:
    ValueError: rows are no probabilities, or there are fewer than parts.
  """
  p = probabilities.astype(np.float64)
  if len(p) < parts:
    raise ValueError(
      f'the inception score of {len(p)} clips in {parts} parts; give 2,048'
    )
  if not ((p >= 0).all() and np.allclose(p.sum(axis=1), 1, atol=1e-3)):
    raise ValueError(
      'the classifier of the inception score gives no '
      'probabilities; look at its weights'
    )
  p = p / p.sum(axis=1, keepdims=True)
  order = np.random.default_rng(_SEED).permutation(len(p))
  return float(
    np.mean([_of_part(p[part]) for part in np.array_split(order, parts)])
  )


def _of_part(p):
  share = p.mean(axis=0)
  # Where p is 0 so is its share of the sum.
  ratio = np.log(np.where(p > 0, p, 1)) - np.log(np.where(share > 0, share, 1))
  return np.exp(np.mean(np.sum(p * ratio, axis=1)))
