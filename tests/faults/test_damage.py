"""Damaged checkpoints are never read as if they were whole."""

import functools
import json
import logging
import random
import shutil

import harm
import jax
import numpy as np
import pytest
import toy_run

from framebridge_jax.training import checkpoint, digests, manifests

STEPS = (4, 8, 12)


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """A run with three checkpoints, and what they hold."""
  workdir = tmp_path_factory.mktemp('run')
  toy_run.train(workdir, toy_run.Toy(num_steps=12, keep=3))
  assert tuple(harm.saved(workdir)) == STEPS
  return workdir


@pytest.fixture
def copy(run, tmp_path):
  shutil.copytree(run, tmp_path / 'run')
  return tmp_path / 'run'


@functools.cache
def _like():
  return toy_run.fresh(toy_run.Toy())


def _restore(workdir, **options):
  with checkpoint.Checkpointer(workdir, **options) as checkpointer:
    return checkpointer.restore(_like())


def _step(workdir, step):
  return workdir / 'checkpoints' / str(step)


def _exact(restored, workdir):
  """Whether a state has the digests that its step was saved with."""
  step = int(restored.state.step)
  want = harm.manifest(workdir, step)
  got = digests.seal(digests.fetch(restored.state), {})['arrays']
  return got == json.loads(json.dumps(want))


def _errors(caplog):
  """Ours: Orbax tells of its own metadata, which no array hangs on."""
  return [
    x.getMessage()
    for x in caplog.records
    if x.levelno == logging.ERROR and x.getMessage().startswith('Checkpoint ')
  ]


@pytest.mark.parametrize(
  'seed',
  [
    *range(12),
    *(pytest.param(k, marks=pytest.mark.slow) for k in range(12, 60)),
  ],
)
def test_a_flipped_bit_is_harmless_or_named_and_never_silent(
  copy, run, seed, caplog, trial
):
  """Five bits a seed, each in a file of the newest step, drawn by size."""
  random_numbers = random.Random(seed)
  newest = _step(copy, 12)
  paths = harm.files(newest)
  weights = [path.stat().st_size for path in paths]
  for path in random_numbers.choices(paths, weights, k=5):
    shutil.rmtree(copy)
    shutil.copytree(run, copy)
    caplog.clear()
    with trial('one bit flipped in a checkpoint'):
      before = path.read_bytes()
      bit = harm.flip_bit(path, random_numbers)
      assert path.read_bytes() != before
      restored = _restore(copy)
      where = f'{path.relative_to(newest)}, bit {bit}'
      step = int(restored.state.step)
      assert step in (8, 12), where
      assert _exact(restored, run), where
      if step == 8:
        (message,) = _errors(caplog)
        assert str(newest) in message
        assert not newest.exists()
        assert (copy / 'damaged' / '12').is_dir()
      else:
        assert _errors(caplog) == []
      for other in (4, 8):
        assert _tree(_step(copy, other)) == _tree(_step(run, other))


def _tree(folder):
  return {
    path.relative_to(folder): path.read_bytes() for path in harm.files(folder)
  }


def test_flips_in_the_arrays_themselves_are_named_with_their_digest(
  copy, caplog
):
  """The largest data file is nearly all numbers."""
  path = max(harm.files(_step(copy, 12)), key=lambda path: path.stat().st_size)
  messages = []
  for seed in range(5):
    harm.flip_bit(path, random.Random(seed))
  restored = _restore(copy)
  messages = _errors(caplog)
  assert int(restored.state.step) == 8
  assert len(messages) == 1


def _files_of_a_step():
  """Names that a checkpoint has; data files are named by their content."""
  return [
    'digests/digests.json',
    'record/metadata',
    'state/_METADATA',
    'state/manifest.ocdbt',
    'data',
  ]


def _find(folder, name):
  if name != 'data':
    return folder / name
  return max(harm.files(folder), key=lambda path: path.stat().st_size)


def _truncate(path):
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _empty(path):
  path.write_bytes(b'')


def _delete(path):
  path.unlink()


@pytest.mark.parametrize('harm_done', [_truncate, _empty, _delete])
@pytest.mark.parametrize('name', _files_of_a_step())
def test_a_file_that_is_cut_empty_or_gone_is_damage(
  copy, run, name, harm_done, caplog, trial
):
  with trial('a file of a checkpoint truncated, emptied or deleted'):
    path = _find(_step(copy, 12), name)
    assert path.stat().st_size > 0
    harm_done(path)
    restored = _restore(copy)
    assert _exact(restored, run)
    if int(restored.state.step) != 12:
      assert any(str(_step(copy, 12)) in message for message in _errors(caplog))


@pytest.mark.parametrize('name', ['state', 'record', 'digests'])
def test_a_part_of_a_commit_that_is_gone_is_damage(
  copy, run, name, caplog, trial
):
  with trial('a part of a checkpoint deleted'):
    shutil.rmtree(_step(copy, 12) / name)
    restored = _restore(copy)
    assert int(restored.state.step) == 8
    assert _exact(restored, run)
    assert any(str(_step(copy, 12)) in message for message in _errors(caplog))


def test_a_changed_record_is_damage(copy):
  path = _step(copy, 12) / 'record' / 'metadata'
  record = json.loads(path.read_text())
  path.write_text(json.dumps({**record, 'data_offset': 1}))
  assert int(_restore(copy).state.step) == 8


def test_when_all_are_damaged_the_run_does_not_start_anew(copy, run, trial):
  with trial('every checkpoint damaged'):
    for step in STEPS:
      _empty(_step(copy, step) / 'digests' / 'digests.json')
    before = _tree(copy / 'checkpoints')
    code, out, errors = harm.run(copy, num_steps=20)
    assert code == 3
    assert 'FROM' not in out
    for step in STEPS:
      assert f'step {step}: ' in errors
    assert _tree(copy / 'checkpoints') == before
    assert harm.log(copy) == harm.log(run)


def test_training_takes_the_damaged_step_again(copy, run):
  """The same process goes on from 8 and saves another 12."""
  _empty(_step(copy, 12) / 'digests' / 'digests.json')
  toy_run.train(copy, toy_run.Toy(num_steps=12, keep=3))
  assert harm.manifest(copy, 12) == harm.manifest(run, 12)
  assert harm.log(copy) == harm.log(run)


def test_reading_alone_passes_over_damage_and_moves_nothing(copy):
  _empty(_step(copy, 12) / 'digests' / 'digests.json')
  before = _tree(copy)
  like = _like()
  with checkpoint.Checkpointer(copy, read_only=True) as checkpointer:
    average = checkpointer.restore_average(
      like.params, like.step.sharding, decay=0.9
    )
  assert average.step == 8
  assert _tree(copy) == before


def test_an_average_is_held_against_its_digests_too(copy, run, monkeypatch):
  """The manifest is of other numbers, and sealed as if it were whole."""
  path = _step(copy, 12) / 'digests' / 'digests.json'
  manifest = json.loads(path.read_text())
  content = {name: manifest[name] for name in ('arrays', 'record')}
  content['arrays']['ema/0.9/out']['sha256']['0:16,0:4'] = 64 * '0'
  sealed = {**content, 'sha256': digests.of_json(content)}
  path.write_text(json.dumps(sealed))
  like = _like()
  with checkpoint.Checkpointer(copy, read_only=True) as checkpointer:
    average = checkpointer.restore_average(
      like.params, like.step.sharding, decay=0.9
    )
  assert average.step == 8
  with checkpoint.Checkpointer(
    copy, read_only=True, verify=False
  ) as checkpointer:
    average = checkpointer.restore_average(
      like.params, like.step.sharding, decay=0.9
    )
  assert average.step == 12


def test_another_model_is_refused_by_names_and_shapes_before_reading(copy):
  wide = jax.eval_shape(lambda: toy_run.fresh(toy_run.Toy(width=24)))
  with checkpoint.Checkpointer(copy) as checkpointer:
    with pytest.raises(manifests.OtherModelError) as error:
      checkpointer.expect(wide)
    with pytest.raises(manifests.OtherModelError):
      checkpointer.restore(toy_run.fresh(toy_run.Toy(width=24)))
  message = str(error.value)
  assert "params/into is ((24, 16), 'float32') there" in message
  assert "((24, 24), 'float32') here" in message
  assert message.count(' there and ') == 12
  assert harm.saved(copy) == list(STEPS)


def test_of_many_differences_twenty_are_told(copy):
  many = _like().replace(
    params={f'leaf_{k:02}': np.zeros(1) for k in range(30)}
  )
  with (
    checkpoint.Checkpointer(copy) as checkpointer,
    pytest.raises(manifests.OtherModelError) as error,
  ):
    checkpointer.expect(many)
  assert str(error.value).count(' there and ') == 20
  assert 'and 13 more' in str(error.value)


def test_a_state_that_is_not_finite_is_kept_apart_and_refused(tmp_path, trial):
  with trial('a state that is not finite'):
    state = _like()
    spoiled = state.replace(
      params={**state.params, 'out': state.params['out'].at[0, 0].set(np.nan)}
    )
    with checkpoint.Checkpointer(tmp_path) as checkpointer:
      checkpointer.save(state, step=1, data_offset=0, config={})
      with pytest.raises(checkpoint.quarantine.NonFiniteStateError) as error:
        checkpointer.save(spoiled, step=2, data_offset=0, config={})
    assert 'the last is 1' in str(error.value)
    assert (tmp_path / 'bad' / '2').is_dir()
    assert harm.saved(tmp_path) == [1]


def test_a_checkpoint_that_is_not_finite_is_not_loaded(
  tmp_path, monkeypatch, caplog
):
  """As written by something that did not look."""
  state = _like()
  spoiled = state.replace(
    params={**state.params, 'out': state.params['out'].at[0, 0].set(np.inf)}
  )
  with checkpoint.Checkpointer(tmp_path) as checkpointer:
    checkpointer.save(state, step=1, data_offset=0, config={})
    with monkeypatch.context() as patch:
      patch.setattr(checkpoint.quarantine, 'finite', lambda tree: True)
      checkpointer.save(spoiled, step=2, data_offset=0, config={})
      checkpointer.wait()
    restored = checkpointer.restore(state)
  assert np.all(np.isfinite(restored.state.params['out']))
  assert any('not finite' in message for message in _errors(caplog))
