"""Tokenizers as checkpoints ship them: which file it is, and who reads it.

Splitting a text is the affair of the libraries `tokenizers` and
`sentencepiece`.  A `tokenizer.json` says all of it; for the older files the
rest is as in transformers and in open_clip.
"""

import functools
import gzip
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import sentencepiece
import tokenizers
from etils import epath
from tokenizers import models, normalizers, pre_tokenizers

from framebridge_jax import files
from framebridge_jax.data import byte_pairs

Split = Callable[[Sequence[str]], list[list[int]]]


class TokenizerError(ValueError):
  """A tokenizer's files cannot be used."""


class Splitter(NamedTuple):
  """A tokenizer without truncation and padding.

  Attributes:
    split: ids of each text's tokens, without begin and end.
    begin: what every text begins with, or None.
    end: what every text ends with.
    pad: what fills the rest.
    size: one more than the largest id.
    digests: sha256 of the files, by their names.
  """

  split: Split
  begin: int | None
  end: int
  pad: int
  size: int
  digests: dict[str, str]


def open_splitter(path: epath.PathLike, kind: str) -> Splitter:
  """Opens a tokenizer's file, or the one that a folder holds.

  Args:
    path: a file named as a checkpoint names it, or its folder.
    kind: a row of KINDS.

  Raises:
    TokenizerError: it is missing, damaged, or of another kind.
  """
  if not files.is_local(path):
    path = epath.Path(path)
    # What belongs to a file stands beside it.
    whole = path.is_dir()
    with files.at_hand(path if whole else path.parent) as folder:
      return open_splitter(folder if whole else folder / path.name, kind)
  path = _located(pathlib.Path(path), kind)
  found = KINDS[kind].files[_name_of(path)](path)
  digests = {file.name: files.sha256(file) for file in found.files}
  begin, end, pad = _ends(path, kind, found.find)
  return Splitter(found.split, begin, end, pad, found.size, digests)


class _Found(NamedTuple):
  """What a file holds; `find` gives the id of a token's name, or None."""

  split: Split
  find: Callable[[str], int | None]
  size: int
  files: tuple[pathlib.Path, ...]


class _Kind(NamedTuple):
  """A kind of tokenizer.

  Attributes:
    files: what reads each file, the first choice first.
    ends: names of begin, end and padding, '' where there is none; the first
      that are there count.
  """

  files: dict[str, Callable[[pathlib.Path], _Found]]
  ends: tuple[tuple[str, str, str], ...]


def _located(path, kind) -> pathlib.Path:
  files = KINDS[kind].files
  known = ', '.join(
    'vocab.json with merges.txt' if name == 'vocab.json' else name
    for name in files
  )
  if path.is_dir():
    name = next((name for name in files if (path / name).is_file()), None)
    if name is None:
      held = sorted(x.name for x in path.iterdir())
      more = f' and {len(held) - 6} more' if len(held) > 6 else ''
      raise TokenizerError(
        f'{path} holds {", ".join(held[:6]) or "nothing"}{more}; want for '
        f'{kind} one of {known}'
      )
    return path / name
  if not path.is_file():
    raise TokenizerError(f'no tokenizer at {path}')
  if _name_of(path) not in files:
    raise TokenizerError(f'{path}: want for {kind} one of {known}')
  return path


def _name_of(path: pathlib.Path) -> str:
  """As which file of a checkpoint it counts."""
  return {'.gz': _MERGES, '.model': _SPIECE}.get(path.suffix, path.name)


def _ends(path, kind, find) -> tuple[int | None, int, int]:
  """Ids of begin, end and padding."""
  choices = KINDS[kind].ends
  names = next((x for x in choices if find(x[1]) is not None), choices[0])
  if kind == 'clip':
    names = (*names[:2], _pad_said(path.parent) or names[2])

  def id_of(name):
    found = find(name)
    if found is None:
      raise TokenizerError(
        f'{path} has no token {name}, so it is no tokenizer of {kind}'
      )
    return found

  begin = id_of(names[0]) if names[0] else None
  end = id_of(names[1])
  pad = id_of(names[2]) if names[2] else 0
  if kind == 't5' and (pad, end) != (0, 1):
    raise TokenizerError(
      f'{path} has {names[2]} at {pad} and {names[1]} at {end}; T5 knows them '
      f'at 0 and 1: take the file of its checkpoint'
    )
  return begin, end, pad


def _pad_said(folder):
  """The padding token that a checkpoint of transformers names, or ''."""
  for name in ('special_tokens_map.json', _CONFIG):
    if (folder / name).is_file():
      token = _json(folder / name).get('pad_token')
      token = token.get('content') if isinstance(token, dict) else token
      if isinstance(token, str):
        return token
  return ''


def _json(path) -> dict[str, Any]:
  try:
    found = json.loads(path.read_bytes())
  except (ValueError, RecursionError):
    raise TokenizerError(f'{path} is damaged: it is not JSON') from None
  if not isinstance(found, dict):
    raise TokenizerError(f'{path} is damaged: it holds no table')
  return found


def _library(kind, path):
  """A `tokenizer.json`, as it stands, of one type."""
  model = _json(path).get('model')
  found = model.get('type') if isinstance(model, dict) else None
  if found != kind:
    raise TokenizerError(
      f'{path} holds a tokenizer of type {found}, want {kind}'
    )
  library = _made(path, tokenizers.Tokenizer.from_file, str(path))
  library.no_truncation()
  library.no_padding()
  return _of(library, path)


def _made(path, make, *args, **options):
  """What the library makes of a file; its errors have no class of their own."""
  try:
    return make(*args, **options)
  except Exception as error:  # noqa: BLE001
    raise TokenizerError(f'{path} is damaged: {error}') from None


def _of(library, *files, mend=None):
  def split(texts):
    texts = [mend(x) for x in texts] if mend else list(texts)
    found = library.encode_batch(texts, add_special_tokens=False)
    return [x.ids for x in found]

  size = max(library.get_vocab().values(), default=-1) + 1
  return _Found(split, library.token_to_id, size, files)


def _with_merges(make, path):
  """A `vocab.json` with its `merges.txt`."""
  merges = path.with_name('merges.txt')
  if not merges.is_file():
    raise TokenizerError(f'{path} has no merges.txt beside it')
  pairs = _made(merges, byte_pairs.read_pairs, merges.read_bytes())
  return make(path, (path, merges), _json(path), pairs)


def _merges_alone(make, kind, path):
  """OpenAI's `bpe_simple_vocab_16e6.txt.gz`."""
  raw = _made(path, gzip.decompress, path.read_bytes())
  pairs = _made(path, byte_pairs.read_pairs, raw)[: byte_pairs.USED]
  return make(path, (path,), byte_pairs.vocab_of(pairs, kind), pairs)


def _clip(path, files, vocab, pairs):
  return _of(_made(path, byte_pairs.clip, vocab, pairs), *files)


def _openclip(path, files, vocab, pairs):
  library = _made(path, byte_pairs.openclip, vocab, pairs)
  return _of(library, *files, mend=byte_pairs.mended)


def _wordpiece(path):
  """A `vocab.txt`, one piece a line, read as BertTokenizer does."""
  raw = _made(path, path.read_text, 'utf-8')
  vocab = {piece: i for i, piece in enumerate(raw.rstrip('\n').split('\n'))}
  config = path.with_name(_CONFIG)
  files = (path, config) if config.is_file() else (path,)
  said = _json(config) if config.is_file() else {}
  if '[UNK]' not in vocab:
    raise TokenizerError(f'{path} has no piece [UNK], which BERT wants')
  for key in ('strip_accents', 'do_lower_case', 'tokenize_chinese_chars'):
    if not isinstance(said.get(key), bool | None):
      raise TokenizerError(
        f'{config} has {key} {said[key]!r}, want true or false'
      )
  model = _made(path, models.WordPiece, vocab, unk_token='[UNK]')
  library = tokenizers.Tokenizer(model)
  library.normalizer = normalizers.BertNormalizer(
    clean_text=True,
    handle_chinese_chars=said.get('tokenize_chinese_chars', True),
    strip_accents=said.get('strip_accents'),
    lowercase=said.get('do_lower_case', True),
  )
  library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
  special = ('[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]')
  library.add_special_tokens([name for name in special if name in vocab])
  return _of(library, *files)


def _sentencepiece(path):
  """A `spiece.model`."""
  library = _made(
    path, sentencepiece.SentencePieceProcessor, model_file=str(path)
  )

  def find(name):
    found = library.piece_to_id(name)
    return None if found == library.unk_id() else found

  return _Found(
    lambda texts: library.encode(list(texts)),
    find,
    library.get_piece_size(),
    (path,),
  )


_CONFIG = 'tokenizer_config.json'
_SPIECE = 'spiece.model'
_MERGES = 'bpe_simple_vocab_16e6.txt.gz'
_CLIP_ENDS = (*byte_pairs.ENDS['clip'], byte_pairs.ENDS['clip'][1])
KINDS = {
  't5': _Kind(
    {
      _SPIECE: _sentencepiece,
      'tokenizer.json': functools.partial(_library, 'Unigram'),
    },
    (('', '</s>', '<pad>'),),
  ),
  'clip': _Kind(
    {
      'tokenizer.json': functools.partial(_library, 'BPE'),
      'vocab.json': functools.partial(_with_merges, _clip),
      _MERGES: functools.partial(_merges_alone, _clip, 'clip'),
    },
    (_CLIP_ENDS,),
  ),
  'openclip': _Kind(
    {
      _MERGES: functools.partial(_merges_alone, _openclip, 'openclip'),
      'vocab.json': functools.partial(_with_merges, _openclip),
    },
    ((*byte_pairs.ENDS['openclip'], ''), (*byte_pairs.ENDS['clip'], '')),
  ),
  'bert': _Kind(
    {
      'tokenizer.json': functools.partial(_library, 'WordPiece'),
      'vocab.txt': _wordpiece,
    },
    (('[CLS]', '[SEP]', '[PAD]'),),
  ),
}
