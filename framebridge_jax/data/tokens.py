"""Captions to token ids of one length, with begin, end and padding.

Every kind takes begin and end from its length, cuts the tokens between them
and pads on the right; an empty caption is begin and end alone.
"""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from absl import logging
from etils import epath
from jaxtyping import Bool, Int

from framebridge_jax.data import token_files


class Tokens(NamedTuple):
  """Ids of captions.

  Attributes:
    ids: begin, tokens, end, padding.
    mask: true but for padding.
    lengths: tokens of the whole captions, begin and end among them.
  """

  ids: Int[np.ndarray, 'b n']
  mask: Bool[np.ndarray, 'b n']
  lengths: Int[np.ndarray, 'b']


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tokenizer:
  """Turns captions into ids.

  Attributes:
    kind: a row of `token_files.KINDS`.
    splitter: what the files hold.
    length: of every row of ids.
  """

  kind: str
  splitter: token_files.Splitter
  length: int

  @property
  def size(self) -> int:
    """All ids are below this."""
    return self.splitter.size

  @property
  def fingerprint(self) -> str:
    """Of the files and of all that is done with their tokens."""
    _, begin, end, pad, _, digests = self.splitter
    said = [_VERSION, self.kind, self.length, begin, end, pad, digests]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()

  def __call__(self, captions: Sequence[str]) -> Tokens:
    """Ids of captions; the first that is too long is named in a warning.

    Raises:
      ValueError: it is one caption, not a list.
    """
    if isinstance(captions, str):
      raise ValueError(
        f'captions is the text {captions!r}, want a list of them'
      )
    split, begin, end, pad, _, _ = self.splitter
    head = [] if begin is None else [begin]
    room = self.length - len(head) - 1
    ids = np.full((len(captions), self.length), pad, np.int32)
    mask = np.zeros(ids.shape, bool)
    found = split(captions)
    for row, (caption, tokens) in enumerate(zip(captions, found, strict=True)):
      if len(tokens) > room:
        _warn(caption, self.length, self.length + len(tokens) - room)
      framed = [*head, *tokens[:room], end]
      ids[row, : len(framed)] = framed
      mask[row, : len(framed)] = True
    lengths = np.array([len(x) + len(head) + 1 for x in found], np.int32)
    return Tokens(ids, mask, lengths)


def open_tokenizer(path: epath.PathLike, kind: str, length: int) -> Tokenizer:
  """Opens the tokenizer of a checkpoint.

  Args:
    path: its file or its folder.
    kind: a row of `token_files.KINDS`.
    length: of every row of ids.

  Raises:
    ValueError: the files cannot be used, or the kind or the length cannot.
  """
  if kind not in token_files.KINDS:
    raise ValueError(
      f'kind is {kind!r}, want one of {", ".join(token_files.KINDS)}'
    )
  if not _LEAST <= length <= _MOST:
    raise ValueError(f'length is {length}, want {_LEAST} to {_MOST} tokens')
  splitter = token_files.open_splitter(path, kind)
  return Tokenizer(kind=kind, splitter=splitter, length=length)


def _warn(caption, length, tokens):
  """Once in a process."""
  shown = caption if len(caption) <= 60 else f'{caption[:57]}...'
  logging.log_first_n(
    logging.WARNING,
    'the caption %r has %d tokens, %d are taken and its end is lost; others '
    'that are too long are counted alone',
    1,
    shown,
    tokens,
    length,
  )


_LEAST = 3  # begin, one token, end
_MOST = 4096  # scores of attention over more would fill any memory
_VERSION = 1  # raised whenever the same files give other ids
