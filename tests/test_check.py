"""Config errors: each names the key, what came and what is wanted."""

import importlib

import pytest

import bad_configs
from configs import digit_reader, motion_reader, quickstart
from framebridge_jax import check, keys
from framebridge_jax.cli import configs


def _message(config):
  with pytest.raises(check.ConfigError) as error:
    check.check_train(config)
  message = str(error.value)
  assert '\n' not in message
  return message


@pytest.mark.parametrize(
  'config',
  [
    bad_configs.good(),
    quickstart.get_config('base=true'),
    digit_reader.get_config(),
    motion_reader.get_config(),
  ],
  ids=['quickstart', 'base', 'digit_reader', 'motion_reader'],
)
def test_shipped_configs_pass(config):
  check.check_train(config)


# Changes to the quickstart that are as good.
GOOD = [
  {'denoiser.prediction': 'v'},
  {'denoiser.view': 'plain', 'denoiser.prediction': 'psi'},
  {'process.schedule': 've:sigma_max=30', 'loss_weight': 'own_target'},
  {'times.draw': 'logit_normal:mean=-0.4,std=1.2', 'times.coin': 'batch'},
  {'process.name': 'diffusion', 'process.schedule': 'flow:shift=3'},
  {'process.name': 'diffusion', 'task_mix.none': 1.0},
  {
    'denoiser.view': 'aligned',
    'denoiser.prediction': 'v',
    'denoiser.teacher': 'table_scaled_linear:snr_shift=3,zero_terminal=true',
    'denoiser.lookup': 'amplitude_linear:reach=2',
    'denoiser.clock': 'table',
  },
  {
    'denoiser.view': 'aligned',
    'denoiser.prediction': 'edm',
    'denoiser.teacher': 'edm',
    'denoiser.clock': 'log_sigma:sigma_min=0.01',
  },
]


@pytest.mark.parametrize('changes', GOOD, ids=str)
def test_what_goes_together_passes(changes):
  check.check_train(bad_configs.change(bad_configs.good(), changes))


@pytest.mark.parametrize(
  ('changes', 'holds'),
  bad_configs.BAD,
  ids=[str(changes) for changes, _ in bad_configs.BAD],
)
def test_a_bad_value_is_named_with_what_is_wanted(changes, holds):
  message = _message(bad_configs.change(bad_configs.good(), changes))
  for text in holds:
    assert text in message


def test_all_wrong_keys_are_named_together():
  changes = {
    'seed': -1,
    'prior': 'zero',
    'train.num_steps': 0,
    'model.widht': 64,
    'task_mix.first': -1.0,
  }
  message = _message(bad_configs.change(bad_configs.good(), changes))
  for name in changes:
    assert name in message
  assert message.count('; ') >= len(changes) - 1


def test_all_contradictions_are_named_together():
  changes = {'data.size': 30, 'model.width': 100, 'model.depth': 5}
  message = _message(bad_configs.change(bad_configs.good(), changes))
  for text in ('data.size 30', 'model.width 100', 'model.depth 5'):
    assert text in message


@pytest.mark.parametrize(
  'name', ['job', 'seed', 'train.num_steps', 'model.patch', 'task_mix']
)
def test_a_missing_key_is_named(name):
  config = bad_configs.good()
  *folders, leaf = name.split('.')
  place = config
  for folder in folders:
    place = place[folder]
  with place.unlocked():
    del place[leaf]
  assert name in _message(config)


def test_a_task_mix_that_draws_nothing_is_refused():
  mix = {f'task_mix.{name}': 0.0 for name in quickstart.get_config().task_mix}
  assert 'task_mix are 0' in _message(
    bad_configs.change(bad_configs.good(), mix)
  )


def test_a_key_of_another_job_is_unknown_to_this_one():
  config = digit_reader.get_config()
  with config.unlocked():
    config.prior = 'replicate'
  assert 'unknown config key prior' in _message(config)


@pytest.mark.parametrize('mode', keys.MODES)
def test_the_modes_recipes_pass_and_have_a_rule_for_each_key(mode):
  config = importlib.import_module(f'framebridge_jax.recipes.{mode}')
  config = config.get_config()
  check.check_mode(config, mode)
  found = {name for name, _ in configs.flatten(config)}
  assert found == set(keys.MODES[mode])


@pytest.mark.parametrize(
  ('mode', 'changes', 'holds'),
  [
    ('sample', {'sampler': 'ddpmm'}, ['sampler', "'ddpmm'", 'ddpm, ddim']),
    ('sample', {'sampler': 'dbim:eta=2'}, ['sampler', 'eta is 2', '[0, 1]']),
    ('sample', {'sampler': 'dbim:et=1'}, ["'et' is unknown", 'known: eta']),
    ('sample', {'sampler': 'euler:eta=1'}, ["'eta'", 'there are none']),
    ('sample', {'sampler': 'heun:churn=-1'}, ['sampler', 'churn is -1']),
    ('sample', {'sampler': 7}, ['sampler', '7', 'ancestral']),
    ('sample', {'grid': 'karras:r=7'}, ['grid', "'r' is unknown", 'rho']),
    ('sample', {'grid': 'trailing:entries=1.5'}, ['entries=1.5', 'want int']),
    ('sample', {'start_noise': -1.0}, ['start_noise', '-1.0', 'at least 0']),
    ('sample', {'guidance_stop': 1.5}, ['guidance_stop', '1.5', 'in [0, 1]']),
    ('sample', {'guidance_history': -1}, ['guidance_history', 'at least 0']),
    ('sample', {'num_steps': 0}, ['num_steps', '0', 'at least 1']),
    ('sample', {'label': -2}, ['label', '-2', 'at least -1']),
    ('sample', {'image': 3}, ['image', '3', 'text']),
    ('evaluate', {'grid': 'cosine'}, ['grid', "'cosine'", 'uniform']),
    ('evaluate', {'num_futures': 0}, ['num_futures', '0', 'at least 1']),
    ('export', {'export_dtype': 'f8'}, ['export_dtype', "'f8'", 'bfloat16']),
  ],
  ids=str,
)
def test_a_bad_value_of_a_mode_is_named_with_what_is_wanted(
  mode, changes, holds
):
  recipe = importlib.import_module(f'framebridge_jax.recipes.{mode}')
  with pytest.raises(check.ConfigError) as error:
    check.check_mode(bad_configs.change(recipe.get_config(), changes), mode)
  for text in holds:
    assert text in str(error.value)


def test_all_wrong_keys_of_a_mode_are_named_together():
  recipe = importlib.import_module('framebridge_jax.recipes.sample')
  changes = {'sampler': 'ddpmm', 'fps': 0, 'guidance': -1.0}
  with pytest.raises(check.ConfigError) as error:
    check.check_mode(bad_configs.change(recipe.get_config(), changes), 'sample')
  for name in changes:
    assert f'{name} is ' in str(error.value)


def test_the_nearest_name_is_suggested_and_all_are_listed_when_none_is_near():
  known = ['model.width', 'model.depth', 'seed']
  assert check.nearest('model.witdh', known) == '; did you mean model.width?'
  assert check.nearest('qqq', known) == (
    '; known: model.depth, model.width, seed'
  )
