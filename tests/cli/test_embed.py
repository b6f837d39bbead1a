"""--mode=embed: from a checkpoint and captions to embeddings on disk."""

import json

import caption_readers
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
import token_kits

import commands as cli
from framebridge_jax.cli import embed as mode
from framebridge_jax.cli import port
from framebridge_jax.data import text, tokens
from framebridge_jax.models import t5
from framebridge_jax.porting import encoders, rules, table
from framebridge_jax.porting import t5 as rows
from framebridge_jax.recipes import embed as recipe
from framebridge_jax.recipes import port as port_recipe

CAPTIONS = ['a cat', '', 'two dogs run on the beach', 'a cat', 'the sea ' * 20]
LENGTH = 24


@pytest.fixture(scope='module')
def ported(tmp_path_factory):
  """The weight file that --mode=port makes of a small T5's checkpoint."""
  folder = tmp_path_factory.mktemp('t5')
  network = caption_readers.NETWORKS['t5']
  shapes = rules.source_shapes(
    rows.rows(network, 'shared'), rows.shapes(network)
  )
  rng = np.random.default_rng(0)
  arrays = {
    name: (0.3 * rng.normal(size=shape)).astype(np.float32)
    for name, shape in shapes.items()
  }
  safetensors.numpy.save_file(arrays, folder / 'public.safetensors')
  config = port_recipe.get_config()
  config.checkpoint = str(folder / 'public.safetensors')
  config.model = 't5_tiny'
  with pytest.MonkeyPatch.context() as patch:
    patch.setitem(
      table.PORTS, 't5_tiny', table.Port('t5', {'max_distance': 128})
    )
    port.run(config, folder / 'ported')
  return folder / 'ported' / 'weights.safetensors'


@pytest.fixture(scope='module')
def spiece(tmp_path_factory):
  return token_kits.t5(tmp_path_factory.mktemp('spiece'))


@pytest.fixture
def words(ported, spiece, tmp_path):
  path = tmp_path / 'captions.txt'
  path.write_text('\n'.join(CAPTIONS) + '\n', 'utf-8')
  return {
    'encoder': ported,
    'tokenizer': spiece,
    'captions': path,
    'length': LENGTH,
    'batch_size': 2,
  }


def test_captions_become_what_the_network_says_of_them(
  words, tmp_path, ported, spiece
):
  """Through the command line, twice: the second time all are found."""
  workdir = tmp_path / 'wörk dir'
  done = cli.call('embed', workdir, **words)
  assert done.returncode == 0, done.stderr
  assert '5 captions, 4 of them different' in done.stderr
  assert '4 computed, 0 found, 1 cut off at 24 tokens' in done.stderr
  assert done.stderr.count("the caption 'the sea the sea") == 1
  report = json.loads((workdir / 'text.json').read_text('utf-8'))
  assert report['count'] == 5
  assert list(report['captions']) == list(dict.fromkeys(CAPTIONS))
  assert report['null'] == report['captions']['']
  assert report['shape'] == [LENGTH, 16]

  network, variables, _ = encoders.load(ported, ('t5',))
  made = tokens.open_tokenizer(spiece, 't5', LENGTH)(CAPTIONS)
  want = t5.by_block(network, variables, jnp.asarray(made.ids))
  for row, caption in enumerate(CAPTIONS):
    entry = text.read(workdir / 'text' / report['captions'][caption])
    np.testing.assert_allclose(entry.values, want[row], atol=1e-5)
    np.testing.assert_array_equal(entry.mask, made.mask[row])

  done = cli.call('embed', workdir, **words)
  assert done.returncode == 0, done.stderr
  assert '0 computed, 4 found, 1 cut off' in done.stderr
  again = json.loads((workdir / 'text.json').read_text('utf-8'))
  assert again == report


def _config(words, **changes):
  config = recipe.get_config()
  changes = {**words, **changes}
  config.update(
    {
      k: v if v == 0 or isinstance(v, int) else str(v)
      for k, v in changes.items()
    }
  )
  return config


def _run(words, workdir, **changes):
  mode.run(_config(words, **changes), workdir)
  return json.loads((workdir / 'text.json').read_text('utf-8'))


def test_one_caption_needs_no_file_and_a_folder_may_be_shared(words, tmp_path):
  shared = tmp_path / 'shared'
  reports = [
    _run(words, tmp_path / name, captions=caption, cache_dir=shared)
    for name, caption in (('a', 'a cat & a dog'), ('b', 'the sea'))
  ]
  assert list(reports[0]['captions']) == ['a cat & a dog']
  assert reports[0]['null'] == reports[1]['null']
  assert len(list(shared.rglob('*.safetensors'))) == 3
  assert not (tmp_path / 'a' / 'text').exists()


def test_entries_are_kept_in_the_dtype_that_is_asked_for(words, tmp_path):
  report = _run(words, tmp_path, cache_dtype='bfloat16')
  entry = text.read(tmp_path / 'text' / report['null'])
  assert entry.values.dtype == jnp.bfloat16


@pytest.mark.parametrize(
  'raw',
  [
    'ein Vögelchen\r\nзима\r\n\r\n雪\r\n'.encode(),
    '\ufeffein Vögelchen\nзима\n\n雪'.encode(),
  ],
)
def test_lines_of_a_file_are_captions(words, tmp_path, raw):
  """Ends of lines and a byte-order mark are none; an empty one is null."""
  path = tmp_path / 'lines.txt'
  path.write_bytes(raw)
  report = _run(words, tmp_path, captions=path)
  want = ['ein Vögelchen', 'зима', '', '雪']
  assert list(report['captions']) == want
  assert report['count'] == 4


BAD = {
  'no encoder': ({'encoder': ''}, 'set --config.encoder=weights.safetensors'),
  'no tokenizer': ({'tokenizer': ''}, 'set --config.tokenizer=folder'),
  'no captions': ({'captions': ''}, 'set --config.captions=captions.txt'),
  'captions are missing': ({'captions': 'none.txt'}, 'no captions at none.txt'),
  'encoder is missing': ({'encoder': 'none.x'}, 'no weight file at none.x'),
  'tokenizer is missing': ({'tokenizer': 'none'}, 'no tokenizer at none'),
  'another layer': ({'layer': 'first'}, "'first', want for t5 one of last"),
  'another kind': ({'kind': 'gpt'}, 'kind is .gpt., want one of t5, clip'),
  'of another kind': ({'kind': 'clip'}, 'want for clip one of tokenizer.json'),
  'too short': ({'length': 2}, 'length is 2, want 3 to 4096'),
  'no dtype': ({'cache_dtype': 'float16'}, 'cache_dtype is .float16., want'),
  'no batch': ({'batch_size': 0}, 'batch_size is 0, want'),
}


@pytest.mark.parametrize('case', BAD)
def test_bad_input_is_refused_before_the_encoder_is_loaded(
  words, tmp_path, monkeypatch, case
):
  changes, says = BAD[case]
  monkeypatch.setattr(encoders, 'load', lambda *args: pytest.fail('loaded'))
  workdir = tmp_path / 'work'
  with pytest.raises(ValueError, match=says):
    mode.run(_config(words, **changes), workdir)
  assert not workdir.exists()


@pytest.mark.parametrize(
  ('raw', 'says'),
  [
    (b'a cat\ncaf\xe9\n', 'not UTF-8 at byte 9; save it as UTF-8'),
    (b'', 'holds no captions'),
    (b'\n \n', 'holds no captions'),
  ],
)
def test_a_file_without_captions_is_refused(words, tmp_path, raw, says):
  path = tmp_path / 'bad.txt'
  path.write_bytes(raw)
  with pytest.raises(ValueError, match=says):
    mode.run(_config(words, captions=path), tmp_path / 'work')


def test_refusals_are_one_sentence_on_the_command_line(words, tmp_path):
  folder = tmp_path / 'clip'
  folder.mkdir()
  token_kits.clip(folder)
  done = cli.call('embed', tmp_path / 'work', **{**words, 'tokenizer': folder})
  assert done.returncode == 2, done.stderr
  (said,) = [x for x in done.stderr.splitlines() if x.startswith('error: ')]
  assert 'holds merges.txt, vocab.json; want for t5 one of spiece.model' in said
  assert 'Traceback' not in done.stderr
