"""--mode=plan: what it says is what a run of that config has."""

import json
import subprocess
import sys
import textwrap

import jax
import pytest

import commands
from configs import quickstart
from framebridge_jax import check, jobs
from framebridge_jax.cli import plan
from framebridge_jax.recipes import plan as recipe
from framebridge_jax.training import chips, sharding

STATE = {'params': 'params', 'ema': 'averages', 'opt_state': 'optimizer'}


def _config(**changes):
  config = quickstart.get_config().unlock()
  config.update(recipe.get_config())
  small = {**commands.TINY, 'model.classes': 10, 'data.frames': 4}
  config.update_from_flattened_dict({**small, **changes})
  return config


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  """Of a step on 2 x 2 devices: the config and what was written."""
  jax.devices()
  workdir = tmp_path_factory.mktemp('plan')
  config = _config(
    **{'devices': 4, 'mesh.fsdp': 2, 'optimizer.moments': 'bfloat16'}
  )
  plan.run(config, workdir)
  return config, json.loads((workdir / plan.FILE).read_text())


def test_the_memory_told_is_what_the_state_of_a_run_takes(made):
  config, told = made
  sizes = {'data': 2, 'fsdp': 2, 'tensor': 1, 'frames': 1}
  mesh = sharding.make_mesh(sizes, jax.devices()[:4])
  state = jobs.create(config, mesh)
  used = {
    name: sum(
      x.addressable_shards[0].data.nbytes for x in jax.tree.leaves(tree)
    )
    for name, tree in (
      ('params', state.params),
      ('averages', state.ema),
      ('optimizer', state.opt_state),
    )
  }
  for name, size in used.items():
    assert told['memory'][name] == pytest.approx(size, rel=0.1), name
  assert told['memory']['temporary'] > 0


def test_exchanges_and_times_are_told(made):
  _, told = made
  assert told['mesh'] == {'data': 2, 'fsdp': 2, 'tensor': 1, 'frames': 1}
  gradient = 4 * told['parameters']
  reduced = sum(
    x['size'] for x in told['exchanges'] if x['kind'] == 'all-reduce'
  )
  assert gradient / 2 < reduced < 3 * gradient
  assert told['times'].keys() == chips.CHIPS.keys()
  for times in told['times'].values():
    assert times['fits']
    assert 0 < times['least'] <= times['expected']
  operations = told['operations']
  # Nobody asks for the gradient of the data, which the stem of a small network
  # would pay a tenth for.
  assert 0.8 < operations['program'] / operations['model'] < 1


def test_remat_is_counted_as_the_forward_pass_it_repeats():
  """The blocks forward once more: four for three, less what is outside them."""
  config = _config(**{'model.depth': 16})
  layout = jobs.abstract_params(config)
  plain = jobs.step_operations(config, layout)
  config.model.remat = 'full'
  assert 1.2 < jobs.step_operations(config, layout) / plain < 4 / 3


def test_what_only_data_would_tell_is_asked_for(tmp_path):
  with pytest.raises(check.ConfigError, match='classes is -1.*reads no data'):
    plan.run(_config(**{'model.classes': -1}), tmp_path)


def test_a_mesh_that_does_not_fit_is_refused_as_in_training(tmp_path):
  with pytest.raises(check.ConfigError, match=r'mesh\.tensor 4 does not'):
    plan.run(_config(**{'devices': 4, 'mesh.tensor': 4}), tmp_path)


def test_a_topology_that_cannot_be_described_is_named(tmp_path):
  with pytest.raises(ValueError, match="topology 'v0:1x1' cannot be described"):
    plan.run(_config(topology='v0:1x1'), tmp_path)


def test_more_devices_than_jax_has_started_with_are_refused(tmp_path):
  with pytest.raises(ValueError, match='devices is 512 and JAX has started'):
    plan.run(_config(devices=512), tmp_path)


@pytest.mark.slow
def test_a_plan_for_eight_devices_tells_what_a_run_on_eight_has(tmp_path):
  """Both through the command line, in processes of their own."""
  changes = commands.train_words(model__classes=10, mesh__fsdp=8)
  changes |= {'train__batch_size': 8, 'train__num_steps': 1}
  called = commands.call('plan', tmp_path, devices=8, **changes)
  assert called.returncode == 0, called.stderr
  told = json.loads((tmp_path / plan.FILE).read_text())['memory']
  look = """
    import jax
    from framebridge_jax.training import loop
    train = loop.train
    def looked(step_fn, state, *args, **kwargs):
      for name in ('params', 'ema', 'opt_state'):
        parts = jax.tree.leaves(getattr(state, name))
        print(name, sum(x.addressable_shards[0].data.nbytes for x in parts))
      return train(step_fn, state, *args, **kwargs)
    loop.train = looked
    from framebridge_jax import main
    main.main()
  """
  words = commands.command('train', tmp_path / 'run', **changes)
  done = subprocess.run(
    [sys.executable, '-c', textwrap.dedent(look), *words[3:]],
    cwd=commands.ROOT,
    env=commands.environment()
    | {'XLA_FLAGS': '--xla_force_host_platform_device_count=8'},
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert done.returncode == 0, done.stderr
  # TFDS speaks there, too.
  lines = map(str.split, done.stdout.splitlines())
  used = dict(line for line in lines if line and line[0] in STATE)
  for name, part in STATE.items():
    assert told[part] == pytest.approx(int(used[name]), rel=0.1)
