"""What a workdir must still hold before a run goes on in it."""

import json
import math

import jax
import pytest

from configs import digit_reader, quickstart
from framebridge_jax import build, check, jobs
from framebridge_jax.cli import fitting
from framebridge_jax.training import restoring, sharding
from framebridge_jax.training import state as states


def _workdir(folder, steps):
  lines = [json.dumps({'step': step, 'loss': 1.0}) for step in steps]
  (folder / 'metrics.jsonl').write_text(''.join(x + '\n' for x in lines))
  return folder


def _config(**changes):
  config = quickstart.get_config()
  config.update_from_flattened_dict({'train.checkpoint_every': 20, **changes})
  return config


def test_a_run_whose_checkpoints_are_gone_does_not_begin_anew(tmp_path):
  workdir = _workdir(tmp_path, range(1, 41))
  with pytest.raises(restoring.NoCheckpointError) as error:
    fitting.check_log(_config(), workdir, None)
  assert error.value.exit_code == 3
  for part in ('metrics.jsonl tells of 40 steps', 'checkpoints'):
    assert part in str(error.value)


@pytest.mark.parametrize(
  ('steps', 'latest', 'changes'),
  [
    ((), None, {}),
    # Killed in its first save, or right after it had failed.
    (range(1, 40), None, {}),
    (range(1, 100), 80, {}),
    (range(1, 100), None, {'train.on_save_error': 'warn'}),
  ],
  ids=['fresh', 'first save', 'checkpoint', 'may go on without'],
)
def test_a_run_that_may_have_none_or_has_one_goes_on(
  tmp_path, steps, latest, changes
):
  fitting.check_log(_config(**changes), _workdir(tmp_path, steps), latest)


def test_a_damaged_log_is_named_with_its_line(tmp_path):
  path = _workdir(tmp_path, range(1, 4)) / 'metrics.jsonl'
  lines = path.read_text().splitlines(keepends=True)
  path.write_text(lines[0] + 9 * '\0' + '\n' + lines[2])
  with pytest.raises(ValueError, match='metrics.jsonl, line 2, is no JSON'):
    fitting.check_log(_config(), tmp_path, None)


def _mesh(**sizes):
  sizes = {'data': 1, 'fsdp': 1, 'tensor': 1, 'frames': 1, **sizes}
  count = math.prod(sizes.values())
  return sharding.make_mesh(sizes, jax.devices()[:count])


@pytest.mark.parametrize(
  ('sizes', 'changes', 'words'),
  [
    (
      {'data': 2, 'fsdp': 2},
      {'train.batch_size': 6},
      'train.batch_size 6 cannot be shared .*4 in all',
    ),
    (
      {'frames': 4},
      {'data.frames': 6},
      'mesh.frames 4 does not divide the 6 frames of model; choose',
    ),
    (
      {'frames': 4},
      {'data.size': 40, 'model.patch': 8},
      'mesh.frames 4 does not divide the 25 tokens a frame of model',
    ),
    (
      {'tensor': 4},
      {'model.heads': 2},
      'mesh.tensor 4 does not divide the 2 heads of model',
    ),
  ],
)
def test_a_mesh_that_nothing_can_be_shared_along_is_refused(
  sizes, changes, words
):
  with pytest.raises(check.ConfigError, match=words):
    fitting.check_mesh(_config(**changes), _mesh(**sizes))
  fitting.check_mesh(_config(), _mesh(**sizes))


def test_the_image_before_the_clip_counts_as_a_frame():
  config = _config(**{'data.frames': 15})
  with config.unlocked():
    config.model.image_frame = True
  fitting.check_mesh(config, _mesh(frames=4))
  config.data.frames = 16
  with pytest.raises(check.ConfigError, match='the 17 frames of model, with'):
    fitting.check_mesh(config, _mesh(frames=4))


def test_all_that_a_mesh_does_not_fit_is_told_at_once():
  config = _config(**{'train.batch_size': 3, 'model.heads': 1})
  with pytest.raises(check.ConfigError) as error:
    fitting.check_mesh(config, _mesh(data=2, tensor=2))
  assert len(error.value.problems) == 2


def test_a_reader_of_digits_has_nothing_to_lay_along_frames():
  with pytest.raises(check.ConfigError, match='mesh.frames is 2, and a digit'):
    fitting.check_mesh(digit_reader.get_config(), _mesh(frames=2))


def test_a_run_in_which_nothing_trains_is_refused():
  config = _config(**{'optimizer.freeze': '.', 'init_from': ''})
  layout = states.layout(
    jobs.make_init(config),
    build.make_optimizer(config),
    _mesh(),
    ema_decays=(0.9,),
    frozen=build.make_frozen(config),
  )
  with pytest.raises(check.ConfigError, match="freeze '.' is found in .*every"):
    fitting.check_trained(config, layout)
