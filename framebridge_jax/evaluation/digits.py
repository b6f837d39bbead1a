"""Reading digits in frames: does what moves keep its shape?"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, PyTree, UInt8

from framebridge_jax.models import digit_reader

_BATCH = 64


def read_digits(
  reader: digit_reader.DigitReader,
  variables: PyTree,
  frames: UInt8[np.ndarray, 'n h w c'],
) -> Int[np.ndarray, 'n']:
  """The digit that the reader sees in each frame."""
  missing = -len(frames) % _BATCH
  padded = np.pad(frames, ((0, missing), (0, 0), (0, 0), (0, 0)))
  seen = [
    np.asarray(_read(reader, variables, padded[i : i + _BATCH]))
    for i in range(0, len(padded), _BATCH)
  ]
  return np.concatenate(seen)[: len(frames)]


@functools.partial(jax.jit, static_argnames='reader')
def _read(reader, variables, frames):
  frames = frames.astype(jnp.float32) / 127.5 - 1
  return jnp.argmax(reader.apply(variables, frames), axis=-1)
