"""Small tokenizers in the files that checkpoints have, and recorded ids."""

import functools
import gzip
import json
import pathlib
import shutil

import sentencepiece

GOLDEN = pathlib.Path(__file__).parent / 'golden' / 'tokenizers'
RECORDED = json.loads((GOLDEN / 'tokens.json').read_text())
CAPTIONS = RECORDED['captions']
LENGTH = RECORDED['length']


def t5(folder: pathlib.Path) -> pathlib.Path:
  """A `spiece.model` of 480 pieces with T5's ids and normalization."""
  model = (GOLDEN / 't5_tiny.model').read_bytes()
  (folder / 'spiece.model').write_bytes(model + _normalization())
  return folder


def clip(folder: pathlib.Path, begin='<|startoftext|>', end='<|endoftext|>'):
  """`vocab.json` and `merges.txt` of CLIP's first 1200 pairs."""
  _, *merges = gzip.decompress(_pairs().read_bytes()).decode().split('\n')
  signs = list(_signs().values())
  names = [*signs, *(f'{x}</w>' for x in signs)]
  names += [merge.replace(' ', '') for merge in merges]
  vocab = {name: i for i, name in enumerate([*names, begin, end])}
  (folder / 'vocab.json').write_text(json.dumps(vocab))
  lines = ['#version: 0.2', *merges, '']
  (folder / 'merges.txt').write_text('\n'.join(lines))
  return folder


def openclip(folder: pathlib.Path) -> pathlib.Path:
  """The same pairs as OpenAI ships them."""
  shutil.copy(_pairs(), folder / 'bpe_simple_vocab_16e6.txt.gz')
  return folder


def bert(folder: pathlib.Path) -> pathlib.Path:
  """A `vocab.txt` of MiniLM's first pieces."""
  shutil.copy(GOLDEN / 'bert_tiny_vocab.txt', folder / 'vocab.txt')
  return folder


def _pairs():
  return GOLDEN / 'bpe_tiny.txt.gz'


def _signs():
  """GPT-2's signs for bytes (Radford et al. 2019), in its order."""
  plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
  rest = [x for x in range(256) if x not in plain]
  return {x: chr(x) for x in plain} | {
    x: chr(256 + i) for i, x in enumerate(rest)
  }


@functools.cache
def _normalization():
  """sentencepiece's table of NFKC, 240 KB that need no place in git.

  Fields of a protocol buffer may stand in any order, so a model without this
  one and the field behind it make a whole model.
  """
  spec = sentencepiece.SentencePieceNormalizer(
    rule_name='nmt_nfkc',
    add_dummy_prefix=True,
    escape_whitespaces=True,
    remove_extra_whitespaces=True,
  ).serialized_normalizer_spec()
  size = len(spec)
  varint = bytes([size & 127 | 128, size >> 7 & 127 | 128, size >> 14])
  return _NORMALIZER + varint + spec


_NORMALIZER = bytes([3 << 3 | 2])  # field 3, of a length
