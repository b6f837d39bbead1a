"""A run in the latents of an autoencoder, through the real command line."""

import json

import autoencoders
import numpy as np
import pytest
from PIL import Image

import commands as cli
from framebridge_jax.data import clips, codec, images


@pytest.fixture(scope='module')
def run(tmp_path_factory, cache):
  """A workdir whose path holds the run, and its codec."""
  folder = tmp_path_factory.mktemp('latent')
  path = folder / 'vae.safetensors'
  autoencoders.save(path)
  words = {
    'codec': f'kl:weights={path},chunk=16',
    'model__patch': 4,
    'train__validate_every': 2,
    'train__validate_batches': 1,
    'train__num_steps': 4,
  }
  done = cli.call(
    'train', folder / 'run', **cli.train_words(cache_dir=cache, **words)
  )
  assert done.returncode == 0, done.stderr
  return folder / 'run', path


@pytest.mark.slow
def test_a_run_in_latents_trains_and_shows_what_it_makes(run, photo):
  """The given frame comes back as the autoencoder gives it back."""
  workdir, path = run
  assert all(np.isfinite(loss) for _, loss in cli.losses(workdir))
  held_out = (workdir / 'validation.jsonl').read_text().splitlines()
  assert [json.loads(line)['step'] for line in held_out] == [2, 4]
  speed = (workdir / 'performance.jsonl').read_text().splitlines()
  assert json.loads(speed[-1])['flops_per_second'] > 0
  done = cli.call('sample', workdir, image=photo, label=3, num_steps=3)
  assert done.returncode == 0, done.stderr
  strip = np.asarray(Image.open(workdir / 'samples' / 'photo.png'))
  assert strip.shape == (32, 16 * 32, 3)
  made = codec.KL(weights=str(path))
  given = clips.resize_crop(images.read_image(photo), 32)[None, None]
  want = np.asarray(made.decode(made.encode(given)))[0, 0].astype(int)
  assert np.abs(strip[:, :32].astype(int) - want).max() <= 1
  assert (strip[:, 32:64] != strip[:, :32]).any()


@pytest.mark.parametrize(
  ('words', 'says'),
  [
    ({'codec': 'kl'}, 'codec is .kl., want other options (no weight file'),
    (
      {'codec': 'kl:weights={path}', 'data__size': 30, 'model__patch': 8},
      'latents of side 15',
    ),
    (
      {'codec': 'kl:weights={path},tile=12'},
      'tile is 12, want a multiple of 8',
    ),
  ],
)
def test_what_does_not_fit_is_told_before_training(run, tmp_path, words, says):
  words = {
    key: value.format(path=run[1]) if isinstance(value, str) else value
    for key, value in words.items()
  }
  done = cli.call('train', tmp_path / 'new', **cli.train_words(**words))
  assert done.returncode == 2
  assert says in done.stderr.replace("'", '.')
  assert not (tmp_path / 'new').exists()


def test_a_run_knows_its_autoencoder(run, photo):
  """Another one at the same place would make nonsense of its latents."""
  workdir, path = run
  own = path.read_bytes()
  autoencoders.save(path, seed=1)
  done = cli.call('sample', workdir, image=photo, label=3, num_steps=3)
  path.write_bytes(own)
  assert done.returncode == 2
  assert 'in the latents of another autoencoder' in done.stderr
