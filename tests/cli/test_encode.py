"""--mode=encode through the real command line, and training on what it leaves.

The autoencoder is tiny and random, the clips are moving digits.
"""

import json
import re
import signal
import subprocess
import time

import autoencoders
import caption_readers
import numpy as np
import pytest
import token_kits

import commands as cli
from framebridge_jax.data import codec, latents


@pytest.fixture(scope='module')
def words(tmp_path_factory, cache):
  folder = tmp_path_factory.mktemp('encode')
  autoencoders.save(folder / 'vae.safetensors')
  caption_readers.save(folder / 't5.safetensors', 't5')
  return {
    'autoencoder': folder / 'vae.safetensors',
    'encoder': folder / 't5.safetensors',
    'tokenizer': token_kits.t5(folder),
    'length': 4,
    'dataset': 'moving_digits',
    'cache_dir': cache,
    'data__size': 32,
    'data__train_clips': 48,  # as the tiny run, whose clips are prepared
    'data__test_clips': 20,
    'per_shard': 8,
    'chunk': 16,
  }


@pytest.fixture(scope='module')
def encoded(tmp_path_factory, words):
  """A cache; its encoding was killed and gone on with."""
  folder = tmp_path_factory.mktemp('encoded') / 'latents'
  _kill_at(folder, words, shards=1)
  done = cli.call('encode', folder, **words)
  assert done.returncode == 0, done.stderr
  return folder


def _kill_at(folder, words, shards):
  child = subprocess.Popen(
    cli.command('encode', folder, **words),
    cwd=cli.ROOT,
    env=cli.environment(),
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
  )
  while len(list(folder.glob('train-*.json'))) < shards:
    assert child.poll() is None, 'it ended before it could be killed'
    time.sleep(0.002)
  child.kill()
  assert child.wait() == -signal.SIGKILL


@pytest.mark.slow
def test_three_kills_change_nothing(encoded, words, tmp_path):
  for shards in (1, 2, 4):
    _kill_at(tmp_path / 'latents', words, shards)
  done = cli.call('encode', tmp_path / 'latents', **words)
  assert done.returncode == 0, done.stderr
  for path in sorted(encoded.glob('*.array_record')):
    assert (tmp_path / 'latents' / path.name).read_bytes() == path.read_bytes()


@pytest.mark.slow
def test_two_hosts_at_once_write_what_one_writes(encoded, words, tmp_path):
  hosts = [
    subprocess.Popen(
      cli.command('encode', tmp_path / 'latents', **words, host=i, hosts=2),
      cwd=cli.ROOT,
      env=cli.environment(),
      stderr=subprocess.PIPE,
      text=True,
    )
    for i in range(2)
  ]
  said = [host.communicate(timeout=300)[1] for host in hosts]
  assert [host.returncode for host in hosts] == [0, 0], said
  for i, text in enumerate(said):
    written = re.findall(r'Wrote train-(\d+)-of-00006', text)
    assert [int(number) for number in written] == [i, i + 2, i + 4]
  for path in sorted(encoded.glob('*.array_record')):
    assert (tmp_path / 'latents' / path.name).read_bytes() == path.read_bytes()
  manifests = [
    json.loads((folder / 'train.json').read_text())
    for folder in (encoded, tmp_path / 'latents')
  ]
  assert manifests[0] == manifests[1]


def test_a_killed_encoding_is_gone_on_with_and_verifies(encoded, words):
  manifest = json.loads((encoded / 'train.json').read_text())
  assert (manifest['videos'], manifest['skipped']) == (48, {})
  seen = set()
  records = latents.Records(encoded, 'train')
  for i in range(len(records)):
    record = records[i]
    key = record['name'], record['start']
    assert key not in seen
    seen.add(key)
  assert not list(encoded.glob('.train*')), 'a killed shard was left behind'
  done = cli.call('encode', encoded, **words, verify=True)
  assert done.returncode == 0, done.stderr
  assert done.stderr.count('verified: all digests') == 2


def test_cached_latents_are_those_of_the_clip(encoded, words):
  """Read from the data set, and encoded directly."""
  from framebridge_jax.data import sources

  source = sources.open_source(
    'moving_digits',
    'test',
    data_dir=words['cache_dir'],
    size=32,
    frames=16,
    stride=1,
    options={'world': 'plain32', 'train': 48, 'test': 20},
  )
  made = codec.KL(weights=str(words['autoencoder']))
  records = latents.Records(encoded, 'test')
  cached = {records[i]['name']: records[i] for i in range(len(records))}
  for i in (0, 19):
    record = source.records[i]
    times = range(len(record['video']))
    want = made.encode(record['video'].read(times, 32)[None])[0]
    got = cached[record['name']]
    assert got['label'] == record['label']
    z = got['video'].read(times, 32)
    assert np.abs(z - want).max() <= 1e-3 * np.abs(want).max()  # float16


def test_a_cache_of_something_else_is_told(encoded, words):
  done = cli.call('encode', encoded, **{**words, 'keep': 'mode'})
  assert done.returncode == 2
  assert "keep: 'moments', now 'mode'" in done.stderr


HEARS_TEXT = """
import runpy

def get_config():
  config = runpy.run_path('configs/quickstart.py')['get_config']()
  config = config.unlock()
  config.model.text_width = 4 * 16  # tokens times width
  return config
"""


def test_a_run_trains_on_a_cache_and_hears_its_captions(
  encoded, words, tmp_path
):
  recipe = tmp_path / 'hears.py'
  recipe.write_text(HEARS_TEXT)
  done = cli.call(
    'train',
    tmp_path / 'run',
    **cli.train_words(
      config=recipe,
      dataset='latents',
      data_dir=encoded,
      data__draw=True,
      codec=f'kl:weights={words["autoencoder"]}',
      model__patch=4,
      train__num_steps=2,
    ),
  )
  assert done.returncode == 0, done.stderr
  assert all(np.isfinite(loss) for _, loss in cli.losses(tmp_path / 'run'))
