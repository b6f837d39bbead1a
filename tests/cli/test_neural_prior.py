"""F and a bridge from it, tiny, through the command line."""

import jax
import ml_collections
import numpy as np
import pytest
from PIL import Image

import commands as cli
from framebridge_jax import saved
from framebridge_jax.data import clips, images
from framebridge_jax.porting import weights
from framebridge_jax.training import sharding

TINY = {
  'codec': 'identity',
  'dataset': 'moving_digits',
  'data__world': 'plain32',
  'data__size': 32,
  'data__frames': 4,
  'data__stride': 1,
  'data__train_clips': 8,
  'data__test_clips': 4,
  'data__num_workers': 0,
  'dtype': 'float32',
  'train__batch_size': 2,
  'train__num_steps': 2,
  'train__log_every': 1,
  'model__name': 'latte_tiny8',  # few tokens
}


@pytest.mark.slow
def test_a_neural_prior_is_trained_exported_and_stays_as_it_is_in_a_bridge(
  tmp_path, photo
):
  """And the bridge makes its first frame anew, which F has seen."""
  words = {**TINY, 'cache_dir': tmp_path / 'cache'}
  prior = tmp_path / 'f.safetensors'
  recipe = 'configs/neural_prior_ucf101.py:size=tiny,classes=10'
  run = tmp_path / 'prior'
  done = cli.call('train', run, config=recipe, **words)
  assert done.returncode == 0, done.stderr
  done = cli.call('export', run, path=prior, export_dtype='float32')
  assert done.returncode == 0, done.stderr

  recipe = 'configs/framebridge_ucf101.py:prior=neural,size=tiny,classes=10'
  run = tmp_path / 'bridge'
  words |= {'optimizer__weight_decay': 0.5}
  words |= {'prior_model__name': 'latte_tiny8', 'prior_from': prior}
  done = cli.call('train', run, config=recipe, **words)
  assert done.returncode == 0, done.stderr
  assert len(cli.losses(run)) == 2
  got, want = _variables(run), weights.load(prior).params
  assert got.keys() == {'params', 'prior'}
  jax.tree.map(np.testing.assert_array_equal, got['prior'], want['params'])

  sample = {'image': photo, 'num_steps': 2, 'label': 3}
  done = cli.call('sample', run, **sample)
  assert done.returncode == 0, done.stderr
  strip = np.asarray(Image.open(run / 'samples' / 'photo.png'))
  assert strip.shape == (32, 4 * 32, 3)
  given = clips.resize_crop(images.read_image(photo), 32)
  assert (strip[:, :32] != given).any()


def _variables(run):
  """The run's averaged weights, as sampling loads them."""
  own = {'weights': '', 'ema': 0.0}
  config = ml_collections.ConfigDict({**saved.load_config(run), **own})
  mesh = sharding.make_mesh(dict(config.mesh))
  return saved.of_run(config, run, sharding.replicated(mesh)).variables
