"""Embeddings of captions, computed once and kept on disk.

An entry is a file named by a digest of all that its numbers depend on: the
encoder's weights, the tokenizer's files and settings, the layer, dtypes and the
text.  So an entry never has to be taken back, any number of programs may share
a folder of them, and the folder may be deleted at any time.  The encoder is
loaded if an entry is missing, and gone from the devices before embeddings are
given back.
"""

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from absl import logging
from etils import epath
from jaxtyping import Bool, Float

from framebridge_jax import files
from framebridge_jax.data import text_encoders
from framebridge_jax.data.text_encoders import Vectors
from framebridge_jax.porting import readers


class Embedded(NamedTuple):
  """What is given back for captions; the mask is false for padding."""

  values: Float[np.ndarray, 'b n d']
  mask: Bool[np.ndarray, 'b n']


class Filled(NamedTuple):
  """What became of captions, each counted once.

  Attributes:
    entries: files by caption.
    computed: captions that were missing.
    cut: captions that have more tokens than are taken.
  """

  entries: dict[str, epath.Path]
  computed: int
  cut: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cache:
  """A folder of entries, and the dtype of their numbers."""

  folder: epath.PathLike
  dtype: np.dtype


def embed(
  captions: Sequence[str],
  encoder: text_encoders.Encoder,
  cache: Cache,
  *,
  batch_size: int = 8,
) -> Embedded:
  """Embeddings of captions; what the cache lacks is computed and added.

  Nothing of it is left on a device.

  Args:
    captions: any texts; '' is the null caption.
    encoder: from `text_encoders.open_encoder`.
    cache: where entries are kept.
    batch_size: captions in work at a time.

  Raises:
    ValueError: there are none, the weights cannot be read, or an embedding is
      not finite.
  """
  if not captions:
    raise ValueError('captions are empty, want at least one')
  filled = fill(captions, encoder, cache, batch_size=batch_size)
  found = [read(filled.entries[caption]) for caption in captions]
  return Embedded(*(np.stack(part) for part in zip(*found, strict=True)))


def fill(
  captions: Iterable[str],
  encoder: text_encoders.Encoder,
  cache: Cache,
  *,
  batch_size: int = 8,
) -> Filled:
  """Computes what the cache lacks; as `embed`, without giving it back."""
  texts = list(dict.fromkeys(captions))
  mark = fingerprint(encoder, cache)
  entries = {text: _place(cache, mark, text) for text in texts}
  made = encoder.tokenizer(texts)
  missing = [
    row
    for row, path in enumerate(entries.values())
    if not _holds(path, encoder.shape, cache.dtype)
  ]
  work = text_encoders.vectors(encoder, made, missing, batch_size=batch_size)
  with contextlib.closing(work) as found:  # so that the encoder goes at once
    for row, (values, mask) in found:
      entry = Vectors(values.astype(cache.dtype), mask)
      _write(entries[texts[row]], texts[row], entry)
  cut = int(np.sum(made.lengths > encoder.tokenizer.length))
  return Filled(entries, len(missing), cut)


def fingerprint(encoder: text_encoders.Encoder, cache: Cache) -> str:
  """Of all that the numbers of an entry depend on, but for its text.

  The weight file is read for it once, as long as it stays what it is.
  """
  said = [
    _VERSION,
    _weights_digest(encoder.path, epath.Path(cache.folder)),
    encoder.tokenizer.fingerprint,
    encoder.layer,
    jnp.dtype(encoder.network.dtype).name,
    cache.dtype.name,
  ]
  return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def read(path: epath.PathLike) -> Vectors:
  """An entry, whole.

  Raises:
    ValueError: it is missing or damaged.
  """
  if not epath.Path(path).is_file():
    raise ValueError(f'no embedding at {path}')
  with files.at_hand(path) as local, readers.open_safetensors(local) as file:
    if file.specs.keys() != set(Vectors._fields):
      raise ValueError(f'{path} holds no embedding')
    entry = Vectors(*(file.read(name) for name in Vectors._fields))
    if file.metadata.get('sha256') != _digest(entry):
      raise ValueError(f'{path} is damaged: its numbers have changed')
  return entry


def _holds(path, shape, dtype):
  """Whether an entry is there and as it should be."""
  if not path.is_file():
    return False
  try:
    values, mask = read(path)
  except (ValueError, OSError) as error:
    logging.warning('computed anew: %s', error)
    return False
  if (values.shape, values.dtype, mask.shape) != (shape, dtype, shape[:1]):
    logging.warning(
      'computed anew: %s holds %s %s, want %s %s',
      path,
      values.dtype,
      values.shape,
      dtype,
      shape,
    )
    return False
  return True


def _write(path, text, entry):
  if not np.isfinite(entry.values.astype(np.float32)).all():
    raise ValueError(
      f'the embedding of {text!r} is not finite; the weights are damaged, or '
      f'the dtype cannot hold it'
    )
  path.parent.mkdir(parents=True, exist_ok=True)
  said = {'text': text, 'sha256': _digest(entry)}
  with files.replacing(path) as temporary:
    safetensors.numpy.save_file(entry._asdict(), temporary, said)


def _digest(entry):
  found = hashlib.sha256()
  for x in entry:
    found.update(f'{x.dtype} {x.shape}'.encode())
    found.update(np.ascontiguousarray(x).view(np.uint8).data)
  return found.hexdigest()


def _place(cache, mark, text):
  name = hashlib.sha256(f'{mark} {text}'.encode()).hexdigest()
  return epath.Path(cache.folder) / name[:2] / f'{name[2:]}.safetensors'


def _weights_digest(path, folder):
  """Remembered by the file's place, size and time."""
  name = hashlib.sha256(files.mark(path).encode()).hexdigest()
  memo = folder / 'weights' / f'{name}.txt'
  if memo.is_file():
    held = memo.read_bytes()
    if len(held) == 64 and not held.strip(b'0123456789abcdef'):
      return held.decode()
  digest = files.sha256(path)
  memo.parent.mkdir(parents=True, exist_ok=True)
  with files.replacing(memo) as temporary:
    temporary.write_text(digest)
  return digest


_VERSION = 1  # raised whenever the same inputs give other numbers
