"""Which files are tokenizers, and what is said of those that are not."""

import gzip
import io
import json

import pytest
import sentencepiece
import token_kits
import tokenizers
from tokenizers import models

from framebridge_jax.data import byte_pairs, token_files

MERGES = 'bpe_simple_vocab_16e6.txt.gz'
PLAIN = ['a cat', 'two dogs run on the beach', '']


def _ids(path, kind):
  return token_files.open_splitter(path, kind).split(PLAIN)


def _json(folder, library):
  """Leaves a `tokenizer.json` alone in a folder."""
  for path in folder.iterdir():
    path.unlink()
  library.enable_truncation(3)
  library.enable_padding(length=9)
  library.save(str(folder / 'tokenizer.json'))
  return folder


def _bert_json(folder):
  """As transformers saves it, cutting and padding switched on."""
  token_kits.bert(folder)
  library = tokenizers.BertWordPieceTokenizer(str(folder / 'vocab.txt'))
  return _json(folder, library)


def _clip_json(folder):
  token_kits.clip(folder)
  vocab = json.loads((folder / 'vocab.json').read_text())
  merges = byte_pairs.read_pairs((folder / 'merges.txt').read_bytes())
  return _json(folder, byte_pairs.clip(vocab, merges))


def _t5_json(folder):
  """Without the table of NFKC, which plain captions do not need."""
  token_kits.t5(folder)
  model = sentencepiece.SentencePieceProcessor(
    model_file=str(folder / 'spiece.model')
  )
  pieces = [
    (model.id_to_piece(i), model.get_score(i))
    for i in range(model.get_piece_size())
  ]
  library = tokenizers.Tokenizer(models.Unigram(pieces, unk_id=2))
  library.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
  return _json(folder, library)


JSON = {'bert': _bert_json, 'clip': _clip_json, 't5': _t5_json}


@pytest.mark.parametrize('kind', JSON)
def test_tokenizer_json_splits_as_the_older_files_do(tmp_path, kind):
  """Its own cutting and padding are switched off."""
  older, newer = tmp_path / 'older', tmp_path / 'newer'
  older.mkdir()
  newer.mkdir()
  want = _ids(getattr(token_kits, kind)(older), kind)
  assert _ids(JSON[kind](newer), kind) == want
  assert max(map(len, want)) > 3


def test_open_clip_reads_the_files_of_transformers_too(tmp_path):
  """laion's: other names for the ends, and the same ids."""
  want = token_files.open_splitter(
    token_kits.openclip(tmp_path) / MERGES, 'openclip'
  )
  (tmp_path / MERGES).unlink()
  got = token_files.open_splitter(token_kits.clip(tmp_path), 'openclip')
  assert got.split(PLAIN) == want.split(PLAIN)
  assert got[1:5] == want[1:5]


def test_clip_reads_openais_table_too(tmp_path):
  want = token_files.open_splitter(token_kits.clip(tmp_path), 'clip')
  (tmp_path / 'vocab.json').unlink()
  got = token_files.open_splitter(token_kits.openclip(tmp_path), 'clip')
  assert got.split(PLAIN) == want.split(PLAIN)
  assert got[1:5] == want[1:5]


def test_pairs_that_clip_has_no_ids_for_are_passed_over(tmp_path, monkeypatch):
  """OpenAI's table is longer than the vocabulary."""
  token_kits.openclip(tmp_path)
  whole = token_files.open_splitter(tmp_path, 'openclip')
  monkeypatch.setattr(byte_pairs, 'USED', 1000)
  part = token_files.open_splitter(tmp_path, 'openclip')
  assert (whole.size, part.size) == (512 + 1200 + 2, 512 + 1000 + 2)
  assert max(i for row in part.split(PLAIN) for i in row) < part.begin


@pytest.mark.parametrize('said', ['!', {'content': '!'}])
@pytest.mark.parametrize(
  'name', ['special_tokens_map.json', 'tokenizer_config.json']
)
def test_clip_pads_with_what_the_checkpoint_says(tmp_path, name, said):
  """As Stable Diffusion 2 does, with the token 0."""
  token_kits.clip(tmp_path)
  assert token_files.open_splitter(tmp_path, 'clip').pad == 1713
  (tmp_path / name).write_text(json.dumps({'pad_token': said}))
  assert token_files.open_splitter(tmp_path, 'clip').pad == 0


def test_a_cased_bert_stays_cased(tmp_path):
  token_kits.bert(tmp_path)
  lower = token_files.open_splitter(tmp_path, 'bert')
  said = json.dumps({'do_lower_case': False})
  (tmp_path / 'tokenizer_config.json').write_text(said)
  cased = token_files.open_splitter(tmp_path, 'bert')
  assert lower.split(['The']) == lower.split(['the']) == cased.split(['the'])
  assert cased.split(['The']) != cased.split(['the'])
  assert lower.digests.keys() == {'vocab.txt'}
  assert cased.digests.keys() == {'vocab.txt', 'tokenizer_config.json'}


@pytest.mark.parametrize('kind', token_files.KINDS)
def test_a_file_stands_for_its_folder(tmp_path, kind):
  folder = getattr(token_kits, kind)(tmp_path)
  names = [name for name in token_files.KINDS[kind].files]
  (path,) = [folder / name for name in names if (folder / name).is_file()]
  assert _ids(path, kind) == _ids(folder, kind)


def _refused(path, kind, says):
  with pytest.raises(token_files.TokenizerError, match=says):
    token_files.open_splitter(path, kind)


OTHERS = [
  (made, asked)
  for made in ('t5', 'clip', 'bert')
  for asked in token_files.KINDS
  if asked != made and (made, asked) != ('clip', 'openclip')
]


@pytest.mark.parametrize(('made', 'asked'), OTHERS)
def test_a_folder_of_another_kind_is_named_by_what_it_holds(
  tmp_path, made, asked
):
  folder = getattr(token_kits, made)(tmp_path)
  held = ', '.join(sorted(x.name for x in folder.iterdir()))
  first = next(iter(token_files.KINDS[asked].files))
  _refused(folder, asked, f'holds {held}; want for {asked} one of {first}')
  path = next(folder.iterdir())
  _refused(path, asked, f'{path.name}: want for {asked} one of {first}')


@pytest.mark.parametrize(
  ('made', 'asked', 'types'),
  [
    ('clip', 't5', 'BPE, want Unigram'),
    ('clip', 'bert', 'BPE, want WordPiece'),
    ('t5', 'clip', 'Unigram, want BPE'),
    ('bert', 'clip', 'WordPiece, want BPE'),
    ('bert', 't5', 'WordPiece, want Unigram'),
  ],
)
def test_a_tokenizer_json_of_another_kind_is_named_by_its_type(
  tmp_path, made, asked, types
):
  _refused(JSON[made](tmp_path), asked, f'holds a tokenizer of type {types}')


def test_byte_pairs_of_another_model_have_not_clips_ends(tmp_path):
  token_kits.clip(tmp_path, begin='<s>', end='<e>')
  for kind in ('clip', 'openclip'):
    _refused(tmp_path, kind, r'vocab.json.*no tokens <\|startoftext\|>')
  vocab = {'<unk>': 0, 'a': 1}
  library = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=[]))
  path = _json(tmp_path, library) / 'tokenizer.json'
  _refused(path, 'clip', r'no token <\|startoftext\|>, so it is no .* of clip')


def _spiece(folder, **settings):
  model = io.BytesIO()
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(['a b c d e']),
    model_writer=model,
    minloglevel=2,
    **{'vocab_size': 9, **settings},
  )
  (folder / 'spiece.model').write_bytes(model.getvalue())
  return folder


@pytest.mark.parametrize(
  ('settings', 'says'),
  [
    (
      {'pad_id': 1, 'eos_id': 0, 'unk_id': 2, 'bos_id': -1},
      'has <pad> at 1 and </s> at 0; T5 knows them at 0 and 1',
    ),
    ({'pad_id': 3, 'vocab_size': 10}, '<pad> at 3 and </s> at 2'),
    ({}, 'no token <pad>'),
    ({'eos_id': -1, 'pad_id': 3}, 'no token </s>'),
  ],
)
def test_a_model_of_sentencepiece_must_have_t5s_ids(tmp_path, settings, says):
  _refused(_spiece(tmp_path, **settings), 't5', says)


def _cut(path):
  path.write_bytes(path.read_bytes()[:-100])


DAMAGED = [
  ('t5', 'spiece.model', b'no model', 'is damaged'),
  ('clip', 'vocab.json', b'{"a": 1', 'vocab.json is damaged: it is not JSON'),
  ('clip', 'vocab.json', b'[1]', 'vocab.json is damaged: it holds no table'),
  ('clip', 'vocab.json', b'{"a": "b"}', 'vocab.json is damaged'),
  ('clip', 'merges.txt', b'#v\n\xff', 'merges.txt is damaged'),
  ('clip', 'merges.txt', b'#v\nsome words here', 'merges.txt is damaged'),
  ('clip', 'merges.txt', b'#v\nzz qq', 'is damaged: .*qq'),
  ('openclip', MERGES, b'no gzip', f'{MERGES} is damaged'),
  (
    'openclip',
    MERGES,
    gzip.compress(b'#v\nthe cat sat', mtime=0),
    'is damaged',
  ),
  ('bert', 'vocab.txt', b'\xff\xfe', 'vocab.txt is damaged'),
  ('bert', 'vocab.txt', b'a\nb\n', 'no piece .UNK.'),
]


@pytest.mark.parametrize(('kind', 'name', 'raw', 'says'), DAMAGED)
def test_a_damaged_file_is_named(tmp_path, kind, name, raw, says):
  getattr(token_kits, kind)(tmp_path)
  (tmp_path / name).write_bytes(raw)
  _refused(tmp_path, kind, says)


@pytest.mark.parametrize('raw', ['{"model": {"type": "WordPiece"}}', '{}', '['])
def test_a_damaged_tokenizer_json_is_named(tmp_path, raw):
  (tmp_path / 'tokenizer.json').write_text(raw)
  _refused(tmp_path, 'bert', 'tokenizer.json')


def test_a_table_that_was_cut_off_is_named(tmp_path):
  path = token_kits.openclip(tmp_path) / MERGES
  path.write_bytes(path.read_bytes()[:-100])
  _refused(tmp_path, 'openclip', f'{MERGES} is damaged')


def test_missing_files_are_named(tmp_path):
  _refused(tmp_path / 'none', 't5', 'no tokenizer at .*none')
  _refused(tmp_path, 't5', 'holds nothing; want for t5 one of spiece.model')
  token_kits.clip(tmp_path)
  (tmp_path / 'merges.txt').unlink()
  _refused(tmp_path, 'clip', 'vocab.json has no merges.txt beside it')
  for i in range(9):
    (tmp_path / f'a{i}').write_text('')
  _refused(tmp_path, 'bert', 'a5 and 4 more; want for bert')
