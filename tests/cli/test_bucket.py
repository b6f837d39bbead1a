"""A workdir, its data and its cache of latents in a bucket.

The bucket is an emulator of Google's; gcsfs, array_record and tensorstore, each
with a client of its own, talk to it as they would to the real one.
"""

import pathlib
import subprocess

import autoencoders
import buckets
import pytest
from etils import epath

import commands as cli
from framebridge_jax import files
from framebridge_jax.data import latents
from framebridge_jax.training import logging as run_logging

pytestmark = pytest.mark.slow

RUN = epath.Path(buckets.NAME) / 'some' / 'run'
DATA = f'{buckets.NAME}/data'


@pytest.fixture(scope='module', autouse=True)
def bucket(tmp_path_factory):
  """Environment of a bucket, of this process and of those that it starts."""
  log = tmp_path_factory.mktemp('bucket') / 'log'
  with buckets.served(log) as environment, pytest.MonkeyPatch.context() as here:
    for name, value in environment.items():
      here.setenv(name, value)
    files.connect(buckets.NAME)
    yield


def _call(mode, workdir, **words):
  done = subprocess.run(
    cli.command(mode, workdir, **words),
    cwd=cli.ROOT,
    env={**cli.environment(), 'http_proxy': ''},
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert done.returncode == 0, done.stderr
  return done.stderr


@pytest.fixture(scope='module')
def run(bucket):
  _call('train', RUN, **cli.train_words(cache_dir=DATA))
  return RUN


def test_a_run_in_a_bucket_has_the_log_of_one_on_a_disk(run, trained):
  """Data prepared there give the same batches, and the same losses."""
  there, here = (run_logging.read(x / 'metrics.jsonl') for x in (run, trained))
  assert there == here
  held = {path.name for path in run.iterdir()}
  assert held >= {'config.json', 'checkpoints', 'events', 'sessions.jsonl'}
  assert not pathlib.Path('gs:').exists()


def test_an_image_is_animated_from_there_to_there(run, photo):
  _call('sample', run, image=photo, label=3, num_steps=2)
  names = {path.name for path in (run / 'samples').iterdir()}
  assert names == {'photo.mp4', 'photo.gif', 'photo.png'}


def test_a_run_goes_on_from_its_checkpoint_there(run):
  """And its log, which cannot be appended to there, is whole."""
  words = {'cache_dir': DATA, 'train__num_steps': 8}
  said = _call('train', run, **cli.train_words(**words))
  assert 'Restored step 6' in said
  lines = run_logging.read(run / 'metrics.jsonl')
  assert [line['step'] for line in lines] == list(range(1, 9))
  assert len((run / 'sessions.jsonl').read_text().splitlines()) == 2


def test_a_cache_of_latents_is_made_and_trained_on_there(bucket, tmp_path):
  weights = epath.Path(buckets.NAME) / 'vae.safetensors'
  autoencoders.save(tmp_path / 'vae.safetensors')
  epath.Path(tmp_path / 'vae.safetensors').copy(weights)
  words = {
    'autoencoder': weights,
    'dataset': 'moving_digits',
    'cache_dir': DATA,
    'data__size': 32,
    'data__train_clips': 48,
    'data__test_clips': 20,
    'chunk': 16,
  }
  folder = epath.Path(buckets.NAME) / 'latents'
  _call('encode', folder, **words)
  _call('encode', folder, **words, verify=True)
  assert len(latents.Records(folder, 'train')) == 48
  _call(
    'train',
    RUN.parent / 'latent',
    **cli.train_words(
      dataset='latents',
      data_dir=folder,
      codec=f'kl:weights={weights}',
      model__patch=4,
      train__num_steps=2,
    ),
  )


def test_a_bucket_that_is_not_there_is_told_at_once(monkeypatch):
  monkeypatch.setenv('STORAGE_EMULATOR_HOST', 'http://localhost:9')
  done = cli.call('train', 'gs://nowhere/run', **cli.train_words())
  assert done.returncode == 2
  assert 'gs://nowhere/run cannot be reached' in done.stderr
