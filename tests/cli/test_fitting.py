"""What a workdir must still hold before a run goes on in it."""

import json

import pytest

from configs import quickstart
from framebridge_jax.cli import fitting
from framebridge_jax.training import restoring


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
