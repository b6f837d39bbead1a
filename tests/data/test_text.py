"""The cache of embeddings: what is computed, kept, told apart and mended."""

import os
import subprocess
import sys

import caption_readers
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import token_kits

from framebridge_jax import files
from framebridge_jax.data import text, text_encoders
from framebridge_jax.porting import encoders, weights

CAPTIONS = ['a cat', '', 'two dogs', 'a cat']
FLOAT32, BFLOAT16 = np.dtype(np.float32), np.dtype(ml_dtypes.bfloat16)
LENGTH = 9


@pytest.fixture(scope='module')
def readers(tmp_path_factory):
  """A weight file of T5, and the folder of its tokenizer."""
  folder = tmp_path_factory.mktemp('reader')
  caption_readers.save(folder / 't5.safetensors', 't5')
  return folder / 't5.safetensors', token_kits.t5(folder)


@pytest.fixture
def encoder(readers):
  return text_encoders.open_encoder(*readers, length=LENGTH)


@pytest.fixture
def cache(tmp_path):
  return text.Cache(folder=tmp_path / 'text', dtype=FLOAT32)


@pytest.fixture
def loads(monkeypatch):
  """How often an encoder was loaded."""
  found, load = [], encoders.load
  monkeypatch.setattr(
    encoders, 'load', lambda *args: found.append(args) or load(*args)
  )
  return found


@pytest.fixture
def warnings(monkeypatch):
  said = []
  monkeypatch.setattr(
    text.logging, 'warning', lambda line, *args: said.append(line % args)
  )
  return said


def _files(cache):
  return sorted(cache.folder.rglob('*.safetensors'))


def test_captions_get_their_vectors_in_their_order(encoder, cache):
  values, mask = text.embed(CAPTIONS, encoder, cache)
  assert values.shape == (4, *encoder.shape)
  tokens = encoder.tokenizer(CAPTIONS)
  np.testing.assert_array_equal(mask, tokens.mask)
  work = text_encoders.vectors(encoder, tokens, [0, 1, 2, 3], batch_size=4)
  for row, vectors in work:
    np.testing.assert_allclose(values[row], vectors.values, atol=1e-6)
  np.testing.assert_array_equal(values[0], values[3])


def test_a_caption_is_computed_once_and_the_null_caption_too(
  encoder, cache, loads
):
  first = text.fill(CAPTIONS, encoder, cache)
  assert (first.computed, len(loads)) == (3, 1)
  assert list(first.entries) == ['a cat', '', 'two dogs']
  want = text.embed(CAPTIONS, encoder, cache)
  again = text.fill(['', *CAPTIONS], encoder, cache)
  assert (again.computed, len(loads)) == (0, 1)
  more = text.fill([*CAPTIONS, 'the sea'], encoder, cache)
  assert (more.computed, len(loads)) == (1, 2)
  assert len(_files(cache)) == 4
  for got, x in zip(text.embed(CAPTIONS, encoder, cache), want, strict=True):
    np.testing.assert_array_equal(got, x)


def test_long_captions_are_counted_found_or_not(encoder, cache):
  captions = ['a cat ' * 9, 'a cat', 'a cat ' * 9, 'the sea ' * 9]
  for computed in (3, 0):
    filled = text.fill(captions, encoder, cache)
    assert (filled.computed, filled.cut) == (computed, 2)


def test_an_entry_is_named_by_all_that_its_numbers_depend_on(
  readers, encoder, cache, tmp_path
):
  path, folder = readers
  other = tmp_path / 'other.safetensors'
  caption_readers.save(other, 't5', seed=1)
  spiece = tmp_path / 'spiece'
  spiece.mkdir()
  raw = (token_kits.t5(spiece) / 'spiece.model').read_bytes()
  nothing = b'\x12\x00'  # an empty field: the same tokenizer in other bytes
  (spiece / 'spiece.model').write_bytes(raw + nothing)
  dtype = jnp.bfloat16
  variants = [
    (encoder, cache),
    (text_encoders.open_encoder(other, folder, length=LENGTH), cache),
    (text_encoders.open_encoder(path, spiece, length=LENGTH), cache),
    (text_encoders.open_encoder(path, folder, length=LENGTH + 1), cache),
    (
      text_encoders.open_encoder(path, folder, length=LENGTH, dtype=dtype),
      cache,
    ),
    (encoder, text.Cache(folder=cache.folder, dtype=BFLOAT16)),
    (text_encoders.Encoder(**{**vars(encoder), 'layer': 'other'}), cache),
  ]
  marks = [text.fingerprint(*variant) for variant in variants]
  assert len(set(marks)) == len(variants)
  places = text.fill(['a', 'b'], encoder, cache).entries.values()
  assert len(set(places)) == 2


def test_bfloat16_halves_the_entries_and_rounds_the_numbers(encoder, cache):
  half = text.Cache(folder=cache.folder, dtype=BFLOAT16)
  full, _ = text.embed(CAPTIONS, encoder, cache)
  rounded, _ = text.embed(CAPTIONS, encoder, half)
  assert rounded.dtype == BFLOAT16
  np.testing.assert_array_equal(rounded, full.astype(BFLOAT16))
  assert full[0].nbytes == 2 * rounded[0].nbytes
  assert len(_files(cache)) == 6


def _cut_off(path):
  path.write_bytes(path.read_bytes()[:-40])


def _empty(path):
  path.write_bytes(b'')


def _flip(path):
  raw = bytearray(path.read_bytes())
  raw[-50] ^= 1
  path.write_bytes(raw)


def _shorten(path):
  """A whole entry of another shape."""
  entry = text.read(path)
  text._write(path, 'x', text.Vectors(*(x[:3] for x in entry)))


def _swap(path):
  """A whole file that is no entry."""
  safetensors.numpy.save_file({'a': np.zeros(3)}, path)


HARM = [_cut_off, _empty, _flip, _shorten, _swap]


@pytest.mark.parametrize('harm', HARM)
def test_a_damaged_entry_is_computed_anew_with_a_warning(
  encoder, cache, warnings, harm
):
  filled = text.fill(CAPTIONS, encoder, cache)
  want = text.embed(CAPTIONS, encoder, cache)
  assert not warnings
  victim = filled.entries['two dogs']
  harm(victim)
  got = text.embed(CAPTIONS, encoder, cache)
  (said,) = warnings
  assert str(victim) in said
  for x, y in zip(got, want, strict=True):
    np.testing.assert_array_equal(x, y)
  assert text.fill(CAPTIONS, encoder, cache).computed == 0


def test_a_missing_or_damaged_entry_is_not_read(encoder, cache):
  path = text.fill(['a'], encoder, cache).entries['a']
  _flip(path)
  with pytest.raises(ValueError, match='its numbers have changed'):
    text.read(path)
  with pytest.raises(ValueError, match='no embedding at'):
    text.read(path.with_name('other.safetensors'))


def test_nothing_is_left_on_a_device(encoder, cache):
  text.embed(['x'], encoder, cache)
  before = {id(x) for x in jax.live_arrays()}
  values, _ = text.embed(CAPTIONS, encoder, cache)
  assert isinstance(values, np.ndarray)
  assert {id(x) for x in jax.live_arrays()} <= before


def test_numbers_that_are_not_finite_are_never_kept(tmp_path, readers, cache):
  path = tmp_path / 'broken.safetensors'
  params = caption_readers.make('t5')
  params['params']['norm']['scale'] *= np.nan
  network = caption_readers.NETWORKS['t5']
  model = {'name': 't5', **caption_readers.options(network)}
  weights.save(path, params, {'model': model}, dtype='float32', facts={})
  broken = text_encoders.open_encoder(path, readers[1], length=LENGTH)
  text.fill([], broken, cache)
  before = {id(x) for x in jax.live_arrays()}
  with pytest.raises(ValueError, match="'a cat' is not finite") as caught:
    text.fill(CAPTIONS, broken, cache)
  assert caught.traceback, 'which holds frames'
  assert {id(x) for x in jax.live_arrays()} <= before
  assert not _files(cache)


def test_the_weights_are_hashed_once_as_long_as_they_stay(
  tmp_path, readers, cache, monkeypatch
):
  path = tmp_path / 'mine.safetensors'
  raw = readers[0].read_bytes()
  path.write_bytes(raw)
  hashed, digest = [], files.sha256

  def noted(file):
    if file == path:
      hashed.append(file)
    return digest(file)

  monkeypatch.setattr(files, 'sha256', noted)
  marks = []
  for _ in range(2):
    encoder = text_encoders.open_encoder(path, readers[1], length=LENGTH)
    marks.append(text.fingerprint(encoder, cache))
  assert len(hashed) == 1
  path.write_bytes(raw)
  os.utime(path, ns=(1, 1))
  marks.append(text.fingerprint(encoder, cache))
  assert len(hashed) == 2
  assert len(set(marks)) == 1, 'the same bytes'
  for count, harm in ((3, 'damaged'), (4, '0123')):
    for memo in cache.folder.rglob('*.txt'):
      memo.write_text(harm)
    assert text.fingerprint(encoder, cache) == marks[0]
    assert len(hashed) == count


def test_another_program_may_write_the_same_entry(
  encoder, cache, monkeypatch, warnings
):
  """It comes first, or it was killed while it wrote."""
  write = text._write

  def twice(path, caption, entry):
    write(path, caption, entry)
    path.with_name(f'.{path.name}.1.part').write_bytes(b'half of it')
    write(path, caption, entry)

  monkeypatch.setattr(text, '_write', twice)
  want = text.embed(CAPTIONS, encoder, cache)
  got = text.embed(CAPTIONS, encoder, cache)
  assert not warnings
  np.testing.assert_array_equal(got.values, want.values)


def test_no_captions_are_refused(encoder, cache):
  with pytest.raises(ValueError, match='captions are empty'):
    text.embed([], encoder, cache)


PROGRAM = """
import pathlib, sys
import numpy as np
from framebridge_jax.data import text, text_encoders
weights, tokenizer, folder = map(pathlib.Path, sys.argv[1:4])
encoder = text_encoders.open_encoder(weights, tokenizer, length=9)
cache = text.Cache(folder=folder, dtype=np.dtype(np.float32))
print('ready', flush=True)
sys.stdin.readline()
captions = [f'{i} cats' for i in range(40)]
values, _ = text.embed(captions, encoder, cache, batch_size=1)
print(float(np.abs(values).sum()))
"""


@pytest.mark.slow
def test_programs_that_fill_one_cache_at_once_agree(readers, cache):
  command = [sys.executable, '-c', PROGRAM, *map(str, readers)]
  programs = [
    subprocess.Popen(
      [*command, str(cache.folder)],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    for _ in range(3)
  ]
  for program in programs:
    assert program.stdout.readline() == 'ready\n', program.communicate()
  said = [program.communicate('go\n') for program in programs]
  assert len({out for out, _ in said}) == 1
  assert not any('computed anew' in err for _, err in said)
  assert len(_files(cache)) == 40
