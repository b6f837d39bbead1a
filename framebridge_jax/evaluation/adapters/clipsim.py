"""CLIPSIM (Wu et al. 2021): how alike frames and caption are in CLIP's eyes.

The cosine of a frame's and the caption's projections, mean over frames, by our
own towers with ported weights; the field uses CLIP ViT-B/32.  Pictures go the
way of OpenAI's code: the shorter side to 224 bicubically, then the centre.
"""

import functools
import hashlib
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jaxtyping import Float

from framebridge_jax.data import clips as pictures
from framebridge_jax.data import tokens
from framebridge_jax.evaluation import devices, measures
from framebridge_jax.evaluation.adapters import extras
from framebridge_jax.models import clip, clip_pixels
from framebridge_jax.porting import encoders, weights

_VERSION = 'clipsim 1'
_EACH = 16  # frames
_LENGTH = 77  # tokens


def make(
  image: epath.PathLike, text: epath.PathLike, tokenizer: epath.PathLike
) -> measures.Measure:
  """Measures the similarity of each clip and its caption.

  Args:
    image: weights of the image tower, as `--mode=port` wrote them.
    text: of the text tower.
    tokenizer: its files.

  Raises:
    ValueError: weights or tokenizer are missing or do not fit together.
  """
  tower, variables, _ = encoders.load(image, ('clip_image',))
  reader, read_variables, _ = encoders.load(text, ('clip_text',))
  assert isinstance(tower, clip.ImageTower)
  assert isinstance(reader, clip.TextTower)
  if not tower.project or tower.project != reader.project:
    raise ValueError(
      f'{image} projects to {tower.project} features and {text} to '
      f'{reader.project}; port both from one whole CLIP'
    )
  words = tokens.open_tokenizer(tokenizer, 'clip', _LENGTH)
  digest = ' '.join(
    [
      *(weights.digest(x) for x in (variables, read_variables)),
      words.fingerprint,
    ]
  )
  run = devices.spread(
    lambda held, frames: (
      tower.apply(held, clip_pixels.from_bytes(frames)).projected
    ),
    variables,
    each=_EACH,
  )
  said = _texts(reader, read_variables, words)

  def similarities(clips: Sequence[measures.Clip]) -> measures.Numbers:
    frames = [_unit(run(_small(x.video, tower.size))) for x in clips]
    texts = [_unit(said(x.caption)) for x in clips]
    return np.array(
      [[np.mean(f @ t)] for f, t in zip(frames, texts, strict=True)]
    )

  return measures.Measure(
    name='clip',
    digest=hashlib.sha256(f'{_VERSION} {digest}'.encode()).hexdigest(),
    columns={'similarity': slice(0, 1)},
    run=similarities,
    needs=('caption',),
    weights=extras.unverified(hashlib.sha256(digest.encode()).hexdigest()),
  )


def _texts(reader, variables, words) -> Callable[[str], np.ndarray]:
  """The projection of a caption, once for all clips that share it."""

  @jax.jit
  def run(variables, ids):
    return reader.apply(variables, ids).projected

  @functools.lru_cache(maxsize=4096)
  def project(caption):
    return np.asarray(run(variables, jnp.asarray(words([caption]).ids)))[0]

  return project


def _small(video, side):
  return np.stack([pictures.shrink_crop(frame, side) for frame in video])


def _unit(x: np.ndarray) -> Float[np.ndarray, '... d']:
  x = np.asarray(x, np.float64)
  return x / np.linalg.norm(x, axis=-1, keepdims=True)
