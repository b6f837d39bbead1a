"""Encoding by a pipeline of Beam's own runner on one machine."""

import json

import autoencoders
import caption_readers
import pytest
import token_kits

import commands as cli
from framebridge_jax.data import latents

pytest.importorskip('apache_beam', reason='the extra beam is not installed')
pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def words(tmp_path_factory):
  """Of a folder of clips; their captions are embedded, too."""
  folder = tmp_path_factory.mktemp('beam')
  autoencoders.save(folder / 'vae.safetensors')
  caption_readers.save(folder / 't5.safetensors', 't5')
  return {
    'autoencoder': folder / 'vae.safetensors',
    'encoder': folder / 't5.safetensors',
    'tokenizer': token_kits.t5(folder),
    'length': 9,
    'dataset': 'physics_motion:sample=true',
    'splits': "('train', 'multi')",
    'data__size': 32,
    'per_shard': 3,
    'chunk': 16,
  }


@pytest.fixture(scope='module')
def alone(tmp_path_factory, words):
  folder = tmp_path_factory.mktemp('alone') / 'latents'
  done = cli.call('encode', folder, **words)
  assert done.returncode == 0, done.stderr
  return folder


@pytest.fixture(scope='module')
def piped(tmp_path_factory, words):
  folder = tmp_path_factory.mktemp('piped') / 'latents'
  done = cli.call('encode', folder, **words, runner='DirectRunner')
  assert done.returncode == 0, done.stderr
  return folder


def test_a_pipeline_writes_what_one_machine_writes(alone, piped):
  names = sorted(path.name for path in alone.glob('*.array_record'))
  assert len(names) == 4 + 3
  for name in names:
    assert (piped / name).read_bytes() == (alone / name).read_bytes()
  plans = [json.loads((x / 'plan.json').read_text()) for x in (alone, piped)]
  assert plans[0] == plans[1]
  record = latents.Records(piped, 'train')[0]
  assert record['text'].shape[0] == 9
  assert not list(piped.glob('beam-*')), 'the list of TFDS was left'


def test_shards_that_are_there_are_left_alone(piped, words):
  """And what a kill has left is cleared away."""
  kept, lost = (piped / f'train-0000{i}-of-00004.array_record' for i in (0, 2))
  before, bytes_ = kept.stat().st_mtime_ns, lost.read_bytes()
  lost.unlink()
  (piped / 'beam-1234').mkdir()
  done = cli.call('encode', piped, **words, runner='DirectRunner')
  assert done.returncode == 0, done.stderr
  assert kept.stat().st_mtime_ns == before
  assert lost.read_bytes() == bytes_
  assert not list(piped.glob('beam-*'))


def test_what_a_pipeline_wrote_verifies(piped, words):
  done = cli.call('encode', piped, **words, verify=True)
  assert done.returncode == 0, done.stderr
  assert done.stderr.count('verified: all digests') == 2


@pytest.mark.parametrize(
  ('changes', 'says'),
  [
    ({'runner': 'NoRunner'}, 'NoRunner'),
    (
      {'runner': 'DirectRunner', 'runner_options': '--direkt_workers=2'},
      'of which Beam knows no --direkt_workers=2',
    ),
  ],
)
def test_a_wrong_runner_or_option_is_told(tmp_path, words, changes, says):
  done = cli.call('encode', tmp_path / 'new', **words, **changes)
  assert done.returncode == 2, done.stderr
  assert says in done.stderr
