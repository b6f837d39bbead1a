"""Steps that are not finite, or out of the ordinary, in real runs.

Loss and gradient are spoiled for the batches of given numbers, which are known
by their clips.  Runs that never saw those batches say what must come out.
"""

import functools
import itertools
import json

import harm
import jax
import numpy as np
import pytest

import commands
from framebridge_jax import build
from framebridge_jax.cli import train
from framebridge_jax.training import digests, guards, loop
from framebridge_jax.training import logging as run_logging

STATES = ('params/', 'ema/', 'opt_state/', 'typical_loss')


pytestmark = pytest.mark.usefixtures('compiled_once')


@pytest.fixture(autouse=True)
def spoil(monkeypatch, prepared, tiny_config):
  """Multiplies the loss of the batches of some numbers by a factor.

  The factor travels with the batch, so that the program is always the same.
  """
  real_loss, real_place = train.jobs.make_loss, loop.sharding.place_batch
  factors = {}  # by the clips of a batch

  def place(batch, mesh):
    factor = factors.get(tuple(batch['clip'].tolist()), 1.0)
    spoiled = np.full(len(batch['clip']), factor, np.float32)
    return real_place({**batch, 'factor': spoiled}, mesh)

  def make_loss(config):
    return functools.partial(_spoiled, real_loss(config))

  def make(positions, factor=np.nan):
    config = tiny_config()
    source = build.make_source(config, 'train', prepared)
    with build.open_batches(config, source, 0) as stream:
      batches = list(itertools.islice(stream, max(positions) + 1))
    clips = [batches[k]['clip'].tolist() for k in positions]
    factors.update((tuple(x), factor) for x in clips)
    return clips

  monkeypatch.setattr(train.jobs, 'make_loss', make_loss)
  monkeypatch.setattr(loop.sharding, 'place_batch', place)
  return make


def _spoiled(loss, params, batch, keys):
  value, scalars = loss(params, batch, keys)
  if 'factor' not in batch:  # the shapes whose FLOPs are counted
    return value, scalars
  return value * batch['factor'].max(), scalars


@pytest.fixture(autouse=True)
def _one_device(monkeypatch):
  """The compiler is quicker then."""
  one = functools.partial(train.sharding.make_mesh, devices=jax.devices()[:1])
  monkeypatch.setattr(train.sharding, 'make_mesh', one)


@pytest.fixture(autouse=True)
def _no_previews(monkeypatch):
  """Drawing clips takes longer than training, and changes nothing."""
  monkeypatch.setattr(train.previews, 'callbacks', lambda *args: ())


@pytest.fixture
def run(tiny_config):
  """Trains a workdir to a step, in this process, as the command line does."""

  def go(workdir, num_steps, **changed):
    config = tiny_config(**{'train.num_steps': num_steps, **changed})
    train.run(config, workdir)

  return go


def _hold(workdir, step):
  """Digests of what a step's checkpoint holds, but for the counters."""
  arrays = harm.manifest(workdir, step)
  held = {name: x for name, x in arrays.items() if name.startswith(STATES)}
  assert len(held) == len(arrays) - 2  # step and skipped
  # The moments are counted in updates, which a skipped step is not.
  assert any('count' in name for name in held)
  return held


def _record(workdir, step):
  path = workdir / 'checkpoints' / str(step) / 'record' / 'metadata'
  return json.loads(path.read_text())


def _raise_offset(workdir, step, data_offset):
  """Makes a checkpoint go on with a later batch, as if saved like that."""
  folder = workdir / 'checkpoints' / str(step)
  record = {**_record(workdir, step), 'data_offset': data_offset}
  (folder / 'record' / 'metadata').write_text(json.dumps(record))
  path = folder / 'digests' / 'digests.json'
  manifest = json.loads(path.read_text())
  content = {'arrays': manifest['arrays'], 'record': digests.of_json(record)}
  sealed = {**content, 'sha256': digests.of_json(content)}
  path.write_text(json.dumps(sealed))


@pytest.fixture
def run_without(run, tmp_path):
  """A run to a step that takes its first 4 batches, and skips some then."""

  def go(skipped, num_steps):
    workdir = tmp_path / f'without_{skipped}'
    run(workdir, 4)
    _raise_offset(workdir, 4, skipped)
    run(workdir, num_steps)
    return workdir

  return go


def _lines(workdir):
  return run_logging.read(workdir / 'metrics.jsonl')


def _dumps(workdir):
  return {
    path.name: json.loads(path.read_text())
    for path in (workdir / 'dumps').iterdir()
  }


@pytest.mark.parametrize(
  'factor', [np.nan, pytest.param(np.inf, marks=pytest.mark.slow)]
)
def test_steps_that_are_borne_are_as_if_their_batches_had_not_been_there(
  factor, spoil, run, run_without, tmp_path, trial
):
  """Batches 4 and 5: the state after 10 steps is that of 8 without them."""
  want = run_without(2, 8)
  with trial('loss not finite in one or two batches'):
    clips = spoil([4, 5], factor)
    workdir = tmp_path / 'run'
    run(workdir, 10, **{'guards.max_bad_steps': 2})
    lines = _lines(workdir)
    assert [x['step'] for x in lines] == list(range(1, 11))
    bad = [x['step'] for x in lines if not np.isfinite(x['loss'])]
    assert bad == [5, 6]
    assert [x['step'] for x in lines if x['skipped']] == bad
    assert _hold(workdir, 10) == _hold(want, 8)
    good = [x['loss'] for x in lines if not x['skipped']]
    assert good == [x['loss'] for x in _lines(want)]
    dumps = _dumps(workdir)
    names = ['step_5_batch_4.json', 'step_6_batch_5.json']
    assert sorted(dumps) == names
    for name, ids in zip(names, clips, strict=True):
      assert [x['clip'] for x in dumps[name]['samples']] == ids


def test_after_too_many_the_run_goes_back_and_on_behind_them(
  spoil, run, run_without, tmp_path, trial
):
  """Steps 6, 7, 8 are bad: back to 4, and on with batch 8."""
  want = run_without(4, 10)
  spoil([5, 6, 7])
  with trial('a bad region: rolled back behind it'):
    workdir = tmp_path / 'run'
    run(workdir, 10, **{'guards.max_bad_steps': 2})
    assert len(_dumps(workdir)) == 3
    assert harm.log(workdir) == harm.log(want)
    assert [x['step'] for x in _lines(workdir)] == list(range(1, 11))
    assert harm.manifest(workdir, 10) == harm.manifest(want, 10)
    assert _record(workdir, 10)['data_offset'] == 4
  with trial('resumed after a roll-back'):
    parts = tmp_path / 'parts'
    run(parts, 8, **{'guards.max_bad_steps': 2})
    run(parts, 10, **{'guards.max_bad_steps': 2})
    assert harm.log(parts) == harm.log(want)
    assert harm.manifest(parts, 10) == harm.manifest(want, 10)


@pytest.mark.parametrize(
  ('positions', 'changed'),
  [
    ([5, 6, 7, 9, 10, 11], {}),
    ([5, 6, 7], {'guards.on_bad': 'stop'}),
  ],
  ids=['again', 'stop'],
)
def test_a_second_region_or_the_config_ends_the_run_with_code_4(
  positions, changed, spoil, run, tmp_path, trial
):
  """`again`: back at 4 and on with batch 8; 9, 10 and 11 are bad too."""
  spoil(positions)
  with trial('a bad region: stopped'):
    with pytest.raises(guards.BadRegionError) as error:
      run(tmp_path, 20, **{'guards.max_bad_steps': 2, **changed})
    assert error.value.exit_code == 4
    assert 'up to step 8 ' in str(error.value)
    assert 'last good checkpoint is of step 4 in' in str(error.value)
    assert len(_dumps(tmp_path)) == len(positions)
    assert harm.saved(tmp_path) == [4]
    assert harm.unfinished(tmp_path) == []


def test_without_a_checkpoint_there_is_nothing_to_go_back_to(
  spoil, run, tmp_path, trial
):
  spoil([0, 1])
  with (
    trial('a bad region: stopped'),
    pytest.raises(guards.BadRegionError, match='no checkpoint yet'),
  ):
    run(tmp_path, 20, **{'guards.max_bad_steps': 1})


def test_a_run_that_blows_up_ends_with_code_4(tmp_path, prepared, trial):
  """Nothing is spoiled here: the learning rate is absurd, the process real."""
  words = {
    name: value
    for name, value in commands.train_words().items()
    if not name.startswith(('model', 'config', 'init', 'optimizer'))
  }
  with trial('a run that blows up'):
    done = commands.call(
      'train',
      tmp_path,
      config='configs/digit_reader.py',
      **words,
      cache_dir=prepared,
      optimizer__learning_rate=1e30,
      guards__max_bad_steps=1,
    )
    assert done.returncode == 4, done.stderr
    assert 'error: ' in done.stderr
    assert 'last good checkpoint' in done.stderr or 'no checkpoint yet' in (
      done.stderr
    )
    assert (tmp_path / 'dumps').is_dir()


SPIKE = 24  # position: there is a usual loss after 20 steps


@pytest.mark.slow
@pytest.mark.parametrize('skip', [True, False])
def test_a_spike_is_told_and_skipped_if_asked_for(
  skip, spoil, run, tmp_path, caplog, trial
):
  """The loss of one batch is 10,000 times itself."""
  spoil([SPIKE], 1e4)
  with trial('a loss 10,000 times the usual'), caplog.at_level('WARNING'):
    changed = {'guards.skip_spikes': skip, 'train.checkpoint_every': SPIKE}
    run(tmp_path, SPIKE + 2, **changed)
    line = _lines(tmp_path)[SPIKE]
    assert line['spike'] > 1000
    assert line['skipped'] == skip
    said = [x for x in caplog.messages if f'Step {SPIKE + 1}' in x]
    assert len(said) == 1
    assert ('was skipped' in said[0]) == skip
    if not skip:
      assert 'times the usual; it was taken' in said[0]
      return
    _raise_offset(tmp_path, SPIKE, 1)
    kept = _hold(tmp_path, SPIKE + 2)
    without = tmp_path / 'without'
    without.mkdir()
    for name in ('config.json', 'metrics.jsonl'):
      (without / name).write_bytes((tmp_path / name).read_bytes())
    (without / 'checkpoints').mkdir()
    (tmp_path / 'checkpoints' / str(SPIKE)).rename(
      without / 'checkpoints' / str(SPIKE)
    )
    run(without, SPIKE + 1, **changed)
    assert _hold(without, SPIKE + 1) == kept


@pytest.mark.parametrize(
  ('positions', 'times'), [([3], 1), ([5, 6, 7], 2)], ids=['skips', 'goes back']
)
def test_the_step_is_traced_once_and_once_more_after_going_back(
  positions, times, spoil, run, tmp_path, caplog
):
  spoil(positions)
  with jax.log_compiles(), caplog.at_level('WARNING'):
    run(tmp_path, 10, **{'guards.max_bad_steps': 2})
  traced = [x for x in caplog.messages if 'Finished tracing step for jit' in x]
  assert len(traced) == times
