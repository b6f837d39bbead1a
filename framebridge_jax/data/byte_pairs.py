"""CLIP's byte-pair encoding, as transformers and as open_clip apply it.

Both cut a text into words, join the bytes of each by the same table of pairs
and mark its last byte.  They differ in what becomes of a text before: CLIP's
tokenizer in transformers composes characters, collapses white space and makes
all lower case; open_clip mends what was decoded wrongly, straightens quotes and
takes HTML's entities out first.
"""

import html
from collections.abc import Mapping, Sequence

import ftfy
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers

Pairs = Sequence[tuple[str, str]]

# Names of begin and end, in open_clip and elsewhere.
ENDS = {
  'openclip': ('<start_of_text>', '<end_of_text>'),
  'clip': ('<|startoftext|>', '<|endoftext|>'),
}

USED = 49152 - 256 - 2  # pairs of OpenAI's table, which holds more


def clip(vocab: Mapping[str, int], pairs: Pairs) -> tokenizers.Tokenizer:
  """As CLIPTokenizer of transformers 5.

  Raises:
    ValueError: the vocabulary lacks begin or end, or does not fit the pairs.
  """
  library, ends = _joined(vocab, pairs)
  library.normalizer = normalizers.Sequence(
    [
      normalizers.NFC(),
      normalizers.Replace(tokenizers.Regex(r'\s+'), ' '),
      normalizers.Lowercase(),
    ]
  )
  _cut(library, f'{ends}|{_WORDS}', again=True)
  return library


def openclip(vocab: Mapping[str, int], pairs: Pairs) -> tokenizers.Tokenizer:
  """As SimpleTokenizer of open_clip; texts go through `mended` first.

  Raises:
    ValueError: the vocabulary lacks begin or end, or does not fit the pairs.
  """
  library, ends = _joined(vocab, pairs)
  _cut(library, f'(?i){ends}|{_WORDS}', again=False)
  return library


def mended(text: str) -> str:
  """What open_clip makes of a text before it cuts it into words."""
  text = html.unescape(html.unescape(ftfy.fix_text(text)))
  return ' '.join(text.split()).lower()


def read_pairs(raw: bytes) -> list[tuple[str, str]]:
  """Pairs of a `merges.txt`: one a line, behind a line about the version.

  Raises:
    ValueError: it is not UTF-8, or a line holds no pair.
  """
  _, *lines = raw.decode().split('\n')
  pairs = [line.split() for line in lines if line.strip()]
  if any(len(pair) != 2 for pair in pairs):
    raise ValueError('a line is no pair of tokens')
  return [(first, second) for first, second in pairs]


def vocab_of(pairs: Pairs, kind: str) -> dict[str, int]:
  """The ids that OpenAI's table of pairs implies by its order.

  Bytes come first, then bytes at the end of a word, pairs, begin and end.
  """
  plain = [
    chr(x)
    for first, last in ('!~', '¡¬', '®ÿ')
    for x in range(ord(first), ord(last) + 1)
  ]
  signs = plain + [chr(256 + i) for i in range(256 - len(plain))]
  names = signs + [f'{x}</w>' for x in signs] + [''.join(x) for x in pairs]
  return {name: i for i, name in enumerate([*names, *ENDS[kind]])}


def _joined(vocab, pairs):
  """A tokenizer that joins bytes, and the names of its ends as a regex."""
  ends = next((x for x in ENDS.values() if vocab.keys() >= set(x)), None)
  if ends is None:
    raise ValueError(f'it has no tokens {" and ".join(ENDS["clip"])}')
  library = tokenizers.Tokenizer(
    models.BPE(
      vocab=dict(vocab),
      merges=list(pairs),
      continuing_subword_prefix='',
      end_of_word_suffix='</w>',
      unk_token=ends[1],
    )
  )
  library.add_special_tokens(list(ends))
  return library, '|'.join(x.replace('|', r'\|') for x in ends)


def _cut(library, pattern, *, again):
  """Into words; `again`: each of them once more as GPT-2 does, into bytes."""
  library.pre_tokenizer = pre_tokenizers.Sequence(
    [
      pre_tokenizers.Split(tokenizers.Regex(pattern), 'removed', invert=True),
      pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=again),
    ]
  )


_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
