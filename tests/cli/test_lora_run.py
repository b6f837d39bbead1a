"""A run with LoRA: from whole weights, by matrices alone, to whole weights."""

import functools
import json
import shutil

import flax.linen as nn
import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
import tiny
from flax import traverse_util

import commands
from configs import quickstart
from framebridge_jax import jobs, saved
from framebridge_jax.cli import export, train
from framebridge_jax.porting import weights
from framebridge_jax.recipes import export as export_recipe
from framebridge_jax.training import digests

RANK, ALPHA = 2, 6.0


def _config(cache, base, **changes):
  config = quickstart.get_config()
  config.update_from_flattened_dict(
    {
      **commands.TINY,
      'cache_dir': str(cache),
      'data.frames': 4,
      'init_from': str(base),
      'init_fresh': '',
      'lora.rank': RANK,
      'lora.alpha': ALPHA,
      'optimizer.schedule': 'constant',
      'train.num_steps': 4,
      **changes,
    }
  )
  return config


@pytest.fixture(scope='module')
def base(tmp_path_factory, cache):
  """Weights of no particular run, as a file."""
  path = tmp_path_factory.mktemp('base') / 'base.safetensors'
  init = jobs.make_init(_config(cache, '', **{'lora.rank': 0}))
  params = tiny.shaken(nn.unbox(tiny.quick_jit(init)(jax.random.key(5))))
  weights.save(path, params, {}, dtype=np.float32, facts={})
  return path


@pytest.fixture(scope='module', autouse=True)
def one_device():
  """The compiler is quicker for it."""
  make = functools.partial(train.sharding.make_mesh, devices=jax.devices()[:1])
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(train.sharding, 'make_mesh', make)
    yield


@pytest.fixture(scope='module')
def trained(tmp_path_factory, cache, base):
  workdir = tmp_path_factory.mktemp('lora')
  train.run(_config(cache, base), workdir)
  return workdir


def _state(workdir, step):
  """All arrays of a checkpoint, by their names."""
  with ocp.StandardCheckpointer() as checkpointer:
    found = checkpointer.restore(workdir / 'checkpoints' / str(step) / 'state')
  return dict(digests.flatten(found))


@pytest.fixture(scope='module')
def state(trained):
  return _state(trained, 4)


def test_the_weights_it_came_from_stay_to_the_bit(state, base):
  want = traverse_util.flatten_dict(weights.load(base).params, sep='/')
  assert len(want) > 20
  for name, x in want.items():
    assert np.asarray(state[f'params/{name}']).tobytes() == x.tobytes(), name


def test_the_matrices_have_moved_and_they_alone_have_moments_and_averages(
  state,
):
  names = {x.removeprefix('params/') for x in state if x.startswith('params/l')}
  assert len(names) == 2 * 8
  assert all(np.abs(state[f'params/{x}']).max() > 1e-3 for x in names)
  others = [
    x
    for x in state
    if x.startswith(('ema/', 'opt_state/')) and np.ndim(state[x]) > 0
  ]
  assert {'/lora/' in x for x in others} == {True}
  assert len(others) == 3 * len(names)  # two moments and one average


@pytest.fixture(scope='module')
def exported(trained):
  config = quickstart.get_config().unlock()
  config.update(json.loads((trained / 'config.json').read_text()))
  config.update(export_recipe.get_config())
  config.path = str(trained / 'merged.safetensors')
  config.export_dtype = 'float32'
  export.run(config, trained)
  return config


def test_what_is_exported_does_not_say_where_the_data_stood(exported):
  assert exported.cache_dir
  told = weights.config_of(exported.path)
  assert (told['data_dir'], told['cache_dir']) == ('', '')


def test_what_is_exported_are_whole_weights_that_anyone_can_start_from(
  exported, state, base
):
  """Hu et al. 2022: W + (alpha / rank) A B, in float64."""
  file = weights.load(exported.path)
  assert file.config['lora']['rank'] == 0
  merged = traverse_util.flatten_dict(file.params, sep='/')
  before = traverse_util.flatten_dict(weights.load(base).params, sep='/')
  assert merged.keys() == before.keys()
  decay = f'{exported.ema_decays[0]:g}'
  for name, x in before.items():
    want = np.asarray(x, np.float64)
    if f'params/lora/{name}/a' in state:
      a, b = (
        np.asarray(state[f'ema/{decay}/lora/{name}/{side}'], np.float64)
        for side in 'ab'
      )
      assert np.abs(a @ b).max() > 1e-4
      want = want + ALPHA / RANK * (a @ b)
    np.testing.assert_allclose(merged[name], want, rtol=1e-6, atol=1e-6)


def test_a_run_and_its_export_are_one_function(exported, trained, state):
  layout = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  with exported.unlocked():
    exported.weights = exported.path
  of_file = saved.of_run(exported, trained, layout).variables
  with exported.unlocked():
    exported.weights = ''
  of_run = saved.of_run(exported, trained, layout).variables
  assert of_run.keys() == {'params'}
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6),
    of_run,
    of_file,
  )


def test_a_run_does_not_go_on_with_another_rank(trained, cache, base):
  with pytest.raises(ValueError, match='lora.rank was 2, is 3'):
    train.run(_config(cache, base, **{'lora.rank': 3}), trained)


def test_weights_that_hold_matrices_already_are_refused(tmp_path, cache, state):
  """One adaptation is not put on another, whoever wrote the file."""
  path = tmp_path / 'beside.safetensors'
  params = {
    name.removeprefix('params/'): x
    for name, x in state.items()
    if name.startswith('params/')
  }
  nested = traverse_util.unflatten_dict(params, sep='/')
  weights.save(path, nested, {}, dtype=np.float32, facts={})
  with pytest.raises(ValueError, match='beside.safetensors holds .*lora/'):
    train.run(_config(cache, path), tmp_path / 'run')


@pytest.mark.slow
def test_a_run_that_stops_draws_clips_and_goes_on_ends_as_one_that_does_not(
  tmp_path, trained, cache, base
):
  further = tmp_path / 'further'
  shutil.copytree(trained, further)
  for workdir in (further, tmp_path / 'whole'):
    changes = {'train.num_steps': 6, 'train.sample_every': 3}
    train.run(_config(cache, base, **changes), workdir)
  parted, whole = (_state(x, 6) for x in (further, tmp_path / 'whole'))
  assert parted.keys() == whole.keys()
  for name, x in whole.items():
    np.testing.assert_array_equal(parted[name], x, err_msg=name)
