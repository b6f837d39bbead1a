"""Values that are fine alone and refuse each other: one sentence each."""

import pytest

from configs import framebridge_ucf101, neural_prior_ucf101
from framebridge_jax import check, contradictions


@pytest.fixture
def weights(tmp_path):
  """A file that is there; a check opens none."""
  path = tmp_path / 'f.safetensors'
  path.write_bytes(b'')
  return str(path)


def _config(weights, argument='prior=neural'):
  config = framebridge_ucf101.get_config(argument)
  config.data_dir, config.prior_from = 'latents', weights
  return config


def _said(config, **changes):
  with config.unlocked(), config.ignore_type():
    config.update_from_flattened_dict(changes)
  return contradictions.find(config)


def test_a_neural_prior_that_is_whole_is_not_contradicted(weights):
  assert _said(_config(weights)) == []
  assert _said(_config(weights, 'prior=gaussian,f=true')) == []


# One change to FrameBridge with a neural prior -> all that is said of it.
BAD = [
  ({'denoiser.shown': ''}, ['model.prior is True and denoiser.shown is']),
  ({'model.prior': False}, ['model.prior is False', "is 'neural'"]),
  ({'prior_from': ''}, ["prior_from is ''", 'configs/neural_prior_ucf101.py']),
  ({'prior_from': 'none.safetensors'}, ["prior_from is 'none.safetensors'"]),
  ({'optimizer.freeze': ''}, ["optimizer.freeze is ''", "'^prior/'"]),
  ({'optimizer.freeze': 'prior/'}, ['optimizer.freeze', "'^prior/'"]),
  ({'prior_model.timed': True}, ['prior_model.timed is True', 'no time']),
  ({'prior_model.name': 'latte_s8', 'data.size': 288}, ['prior_model.patch 8']),
  ({'init_from': 'none.st'}, ["init_from is 'none.st'", 'quickstart_base']),
  ({'data_dir': ''}, ['data_dir is empty']),
  (
    {'dataset': 'prepared_folder', 'data_dir': ''},
    ['dataset is prepared_folder and data_dir is empty'],
  ),
  (
    {'dataset': 'ucf101+webvid', 'data_dir': 'a,b,c'},
    ['mixes 2 data sets', "'a,b,c' names 3 folders", "or '' for all"],
  ),
  (
    {'dataset': 'ucf101+folder', 'data_dir': 'a,'},
    ['dataset is folder and data_dir is empty'],
  ),
  (
    {'data.weights': (1.0, 2.0)},
    ["data.weights has 2 numbers and dataset 'folder' 1"],
  ),
  ({'data.max_stride': 2}, ['data.max_stride is 2, below data.stride (3)']),
  ({'data.flip': True}, ['data.flip is True and clips are latents']),
  ({'model.stride': True}, ['model.stride is True', 'teaches nothing']),
  ({'prior_model.stride': True}, ['prior_model.stride', 'hears no stride']),
  ({'task_mix.none': 1.0}, ['task_mix.none', 'process.name=diffusion']),
  ({'task_mix.first': 0.0}, ['task_mix are 0']),
  ({'task_mix.first_and_last': 1.0, 'data.frames': 2}, ['data.frames is 2']),
  (
    {'process.schedule': 'flow'},
    ['process.schedule: Flow(', 'alpha = 0 at T'],
  ),
  ({'denoiser.view': 'residual'}, ['prediction is psi', 'no signal at T']),
  ({'denoiser.view': 'aligned'}, ['denoiser.teacher is empty']),
  ({'denoiser.teacher': 'vp'}, ['only aligned has a teacher']),
  (
    {
      'denoiser.view': 'aligned',
      'denoiser.teacher': 'vp',
      'denoiser.lookup': 'snr_linear',
    },
    ["'vp' has none, so use own"],
  ),
]


@pytest.mark.parametrize(('changes', 'holds'), BAD, ids=str)
def test_each_contradiction_is_one_sentence_and_alone(weights, changes, holds):
  said = _said(_config(weights), **changes)
  assert len(said) == 1, said
  assert '\n' not in said[0]
  for text in holds:
    assert text in said[0]


def test_what_a_mixture_of_strides_needs_is_not_contradicted(weights):
  changes = {
    'dataset': 'ucf101:fold=all + webvid',
    'data_dir': '',
    'data.weights': (1, 2.5),
    'data.max_stride': 6,
    'data.flip': True,
    'codec': 'identity',
    'model.stride': True,
  }
  assert _said(_config(weights), **changes) == []


def test_both_networks_are_measured_against_the_latents(weights):
  said = _said(_config(weights), **{'data.size': 248})
  assert len(said) == 2
  for text, key in zip(said, ('model', 'prior_model'), strict=True):
    assert 'data.size 248 gives latents of side 31' in text
    assert text.endswith(f'multiple of {key}.patch 2')


@pytest.mark.parametrize('argument', ['prior=neural', 'f=true'])
def test_a_neural_prior_needs_a_network(weights, argument):
  config = _config(weights, argument)
  with config.unlocked():
    del config.prior_model
  with pytest.raises(check.ConfigError, match='there is no prior_model'):
    check.check_train(config)


def test_all_contradictions_of_a_neural_prior_are_named_together(weights):
  config = _config(weights)
  said = _said(
    config, **{'optimizer.freeze': '', 'model.prior': False, 'prior_from': ''}
  )
  assert len(said) == 3


@pytest.mark.parametrize(
  ('changes', 'holds'),
  [
    ({'model.timed': True}, 'model.timed is True; a neural prior hears no'),
    ({'data.size': 248}, 'data.size 248'),
    ({'data_dir': ''}, 'data_dir is empty'),
  ],
  ids=str,
)
def test_the_job_of_a_neural_prior_has_its_own(changes, holds):
  config = neural_prior_ucf101.get_config()
  config.data_dir = 'latents'
  assert contradictions.find(config) == []
  (said,) = _said(config, **changes)
  assert holds in said


@pytest.mark.parametrize(
  ('changes', 'holds'),
  [
    ({'model.width': 100}, 'model.width 100 is not a multiple of 4 model.head'),
    ({'model.depth': 5}, 'model.depth 5 is odd'),
  ],
  ids=str,
)
def test_numbers_of_a_network_go_together(weights, changes, holds):
  config = _config(weights)
  with config.unlocked():
    config.model = {'name': 'latte', 'classes': 101, 'prior': True, 'patch': 2}
    config.model.update({'width': 96, 'heads': 4, 'depth': 4})
  assert _said(config) == []
  (said,) = _said(config, **changes)
  assert holds in said
