"""Options of training, together, through the mode that reads them."""

import json
import types

import jax
import numpy as np
import pytest

import commands
from configs import quickstart
from framebridge_jax import saved
from framebridge_jax.cli import export, train
from framebridge_jax.porting import weights
from framebridge_jax.recipes import export as export_recipe
from framebridge_jax.training import checkpoint, guards, restoring


def _config(cache, **changes):
  config = quickstart.get_config()
  config.update_from_flattened_dict(
    {
      **commands.TINY,
      'cache_dir': str(cache),
      'mesh.data': 4,
      'train.accumulate': 1,
      'ema_decays': (0.9, 0.15),
      'train.validate_every': 2,
      'train.validate_batches': 2,
      'train.best': 'validation_loss',
      'train.keep': 1,
      'train.checkpoint_every': 2,
      'train.sample_every': 1000,
      **changes,
    }
  )
  return config


@pytest.fixture(scope='module')
def trained(tmp_path_factory, cache):
  workdir = tmp_path_factory.mktemp('options')
  train.run(_config(cache), workdir)
  return workdir


def _lines(path):
  return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.slow
def test_held_out_clips_have_a_loss_and_the_best_checkpoint_stays(trained):
  lines = _lines(trained / 'validation.jsonl')
  assert [line['step'] for line in lines] == [2, 4, 6]
  losses = {line['step']: line['validation_loss'] for line in lines}
  assert len(set(losses.values())) == 3
  best = min(losses, key=losses.get)
  kept = {int(path.name) for path in (trained / 'checkpoints').iterdir()}
  assert kept == {best, 6}


def test_every_average_can_be_exported_and_an_unknown_one_is_refused(
  trained, tmp_path
):
  config = quickstart.get_config().unlock()
  config.update(json.loads((trained / 'config.json').read_text()))
  config.update(export_recipe.get_config())
  config.export_dtype = 'float32'
  got = {}
  for decay in (0.0, 0.15):
    config.path, config.ema = str(tmp_path / f'{decay}.safetensors'), decay
    export.run(config, trained)
    got[decay] = weights.load(tmp_path / f'{decay}.safetensors').params
  layout = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  with checkpoint.Checkpointer(trained, read_only=True) as checkpointer:
    config.ema = 0.9
    want = saved.restore_average(config, checkpointer, layout)
    assert want.step == 6
    jax.tree.map(np.testing.assert_array_equal, got[0.0], want.params)
    differs = jax.tree.map(
      lambda a, b: not np.array_equal(a, b), got[0.0], got[0.15]
    )
    assert any(jax.tree.leaves(differs))
    config.ema = 0.7
    with pytest.raises(ValueError, match=r'ema is 0.7; .* 0.9, 0.15'):
      saved.restore_average(config, checkpointer, layout)


def test_checkpoints_of_skipped_steps_are_no_progress(cache, tmp_path):
  """Steps 5 to 8 changed nothing: what was saved of 6 and 8 is that of 4."""
  saved = iter([(6, 2), (8, 4)])

  def restore(layout):
    step, skipped = next(saved)
    state = types.SimpleNamespace(step=step, skipped=skipped)
    return restoring.Restored(state, 0)

  run = types.SimpleNamespace(
    config=_config(cache),
    checkpointer=types.SimpleNamespace(
      wait=lambda: None, latest_step=8, folder=tmp_path, restore=restore
    ),
    gained=None,
  )
  logger = types.SimpleNamespace(rewind=lambda first: None)
  error = guards.BadRegionError('4 in a row', 7)
  _, data_offset = train._roll_back(run, error, None, logger)
  assert data_offset == 2  # batch 8 comes next, after step 6
  with pytest.raises(guards.BadRegionError, match='last good checkpoint'):
    train._roll_back(run, error, None, logger)
