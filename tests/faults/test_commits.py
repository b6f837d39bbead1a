"""What a commit holds, which commits stay, and where and when they are read."""

import contextlib
import functools
import hashlib
import json
import random
import shutil
import threading

import harm
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy_run

from framebridge_jax import version
from framebridge_jax.training import checkpoint, digests, manifests, retention


@functools.cache
def _like():
  return toy_run.fresh(toy_run.Toy(width=4))


def _state(seed):
  """Every leaf is random, counters included."""
  rng = np.random.default_rng(seed)
  return jax.tree.map(
    lambda x: jax.device_put(
      np.asarray(100 * rng.normal(size=x.shape)).astype(x.dtype), x.sharding
    ),
    _like(),
  )


CONFIG = {'seed': 3, 'model': {'width': 8, 'grid': [1, 2]}, 'prior': 'blend'}


@pytest.fixture(scope='module')
def committed(tmp_path_factory):
  """A workdir with steps 1 and 2, and their states."""
  workdir = tmp_path_factory.mktemp('committed')
  states = {step: _state(step) for step in (1, 2)}
  keep = retention.Keep(best='loss')
  with checkpoint.Checkpointer(workdir, keep=keep) as checkpointer:
    for step, state in states.items():
      checkpointer.save(
        state,
        step=step,
        data_offset=70 + step,
        config=CONFIG,
        metrics={'loss': 0.5},
      )
      checkpointer.wait()
  return workdir, states


def _restore(workdir):
  with checkpoint.Checkpointer(workdir) as checkpointer:
    return checkpointer.restore(_like())


def _which(restored, states):
  """The step whose state it is, to the bit."""
  (step,) = (
    step
    for step, state in states.items()
    if all(jax.tree.leaves(jax.tree.map(np.array_equal, restored, state)))
  )
  return step


def test_one_commit_gives_back_every_part_of_it(committed):
  workdir, states = committed
  restored = _restore(workdir)
  assert _which(restored.state, states) == 2
  assert restored.data_offset == 72
  names = {name.split('/')[0] for name, _ in digests.flatten(restored.state)}
  assert names == {
    'params',
    'ema',
    'opt_state',
    'step',
    'skipped',
    'typical_loss',
  }
  folder = workdir / 'checkpoints' / '2'
  record = json.loads((folder / 'record' / 'metadata').read_text())
  # All noise is a function of the config's seed and the position.
  assert record == {
    'step': 2,
    'data_offset': 72,
    'config': CONFIG,
    'version': version.__version__,
  }
  manifest = manifests.read(folder)
  leaves = {name for name, _ in digests.flatten(restored.state)}
  assert manifest['arrays'].keys() == leaves
  assert manifest['record'] == digests.of_json(record)


NEEDED = ('state', 'record', 'digests')
ORBAX = ('metrics', '_CHECKPOINT_METADATA', 'commit_success.txt')


def test_a_commit_has_the_parts_that_are_deleted_here(committed):
  folder = committed[0] / 'checkpoints' / '2'
  assert {path.name for path in folder.iterdir()} == {*NEEDED, *ORBAX}


@pytest.mark.parametrize('part', [*NEEDED, *ORBAX])
def test_a_commit_without_a_part_is_whole_in_the_rest_or_passed_over(
  committed, tmp_path, part, trial
):
  workdir, states = committed
  copy = tmp_path / 'copy'
  shutil.copytree(workdir, copy)
  path = copy / 'checkpoints' / '2' / part
  with trial('a part of a checkpoint deleted'):
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    restored = _restore(copy)
    step = _which(restored.state, states)
    assert restored.data_offset == 70 + step
    assert step == 1 or part not in NEEDED


@pytest.mark.parametrize('key', ['step', 'data_offset', 'config', 'version'])
def test_a_record_without_a_key_is_passed_over(committed, tmp_path, key, trial):
  workdir, states = committed
  copy = tmp_path / 'copy'
  shutil.copytree(workdir, copy)
  path = copy / 'checkpoints' / '2' / 'record' / 'metadata'
  with trial('a part of a checkpoint deleted'):
    record = json.loads(path.read_text())
    del record[key]
    path.write_text(json.dumps(record))
    assert _which(_restore(copy).state, states) == 1


def test_a_commit_without_an_array_is_refused_by_its_name(
  committed, tmp_path, trial
):
  """As written by something that has no `skipped`: all digests fit."""
  workdir, _ = committed
  copy = tmp_path / 'copy'
  shutil.copytree(workdir, copy)
  folder = copy / 'checkpoints' / '2'
  with trial('a part of a checkpoint deleted'):
    path = folder / 'digests' / 'digests.json'
    content = json.loads(path.read_text())
    del content['sha256'], content['arrays']['skipped']
    path.write_text(json.dumps({**content, 'sha256': digests.of_json(content)}))
    with pytest.raises(manifests.OtherModelError, match='skipped is missing'):
      _restore(copy)


@contextlib.contextmanager
def _writing_held_back(monkeypatch):
  """A save that begins inside does not end before the block does."""
  done = threading.Event()
  real = manifests.DigestHandler._write

  async def wait(handler, directory, args):
    done.wait(60)
    await real(handler, directory, args)

  with monkeypatch.context() as patch:
    patch.setattr(manifests.DigestHandler, '_write', wait)
    try:
      yield
    finally:
      done.set()


def test_what_is_saved_and_its_digests_are_of_the_moment_of_the_call(
  tmp_path, monkeypatch, trial
):
  """The steps that follow give the state's memory away before it is hashed."""
  state = _state(5)
  want = {name: np.array(x, copy=True) for name, x in digests.flatten(state)}
  on = jax.jit(
    lambda tree: jax.tree.map(lambda x: x + jnp.ones_like(x), tree),
    donate_argnums=0,
  )
  with (
    trial('state overwritten while it is saved'),
    checkpoint.Checkpointer(tmp_path) as checkpointer,
  ):
    with _writing_held_back(monkeypatch):
      checkpointer.save(state, step=1, data_offset=0, config={})
      for _ in range(5):
        state = on(state)
      jax.block_until_ready(state)
      assert harm.wait_until(lambda: harm.unfinished(tmp_path))
    checkpointer.wait()
    for name, x in digests.flatten(state):
      assert not np.array_equal(x, want[name])
    assert {
      name: list(entry['sha256'].values())
      for name, entry in harm.manifest(tmp_path, 1).items()
    } == {
      name: [hashlib.sha256(x.tobytes()).hexdigest()]
      for name, x in want.items()
    }
    restored = checkpointer.restore(_like()).state
    for name, x in digests.flatten(restored):
      np.testing.assert_array_equal(x, want[name])


class _Sittings:
  """Saves in a workdir, with restarts and kills between, and what must stay."""

  def __init__(self, home, keep):
    self._home = home
    self._keep = keep
    self._sitting = 0
    self._losses = {}
    self.kills = 0
    self._open(home / '0')

  def _open(self, workdir):
    self.workdir = workdir
    self._checkpointer = checkpoint.Checkpointer(workdir, keep=self._keep)

  def save(self, step, loss):
    self._start(step, loss)
    self._checkpointer.wait()
    self._losses[step] = loss
    assert harm.saved(self.workdir) == self._expected()
    assert harm.unfinished(self.workdir) == []

  def restart(self):
    self._checkpointer.__exit__(None, None, None)
    self._open(self.workdir)

  def kill(self, step, loss, monkeypatch):
    """Goes on in a copy of the middle of a save, as a kill would leave it."""
    self._sitting += 1
    copy = self._home / str(self._sitting)
    with _writing_held_back(monkeypatch):
      self._start(step, loss)
      # Orbax makes its folder in the background.
      assert harm.wait_until(lambda: harm.unfinished(self.workdir))
      with contextlib.suppress(shutil.Error):  # what vanishes meanwhile
        shutil.copytree(self.workdir, copy)
    self._checkpointer.__exit__(None, None, None)
    assert harm.unfinished(copy), 'the save was over before the kill'
    self.kills += 1
    self._open(copy)
    assert harm.saved(copy) == self._expected()
    # Orbax cleans in the background.
    assert harm.wait_until(lambda: not harm.unfinished(copy))

  def close(self):
    self._checkpointer.__exit__(None, None, None)

  def _start(self, step, loss):
    self._checkpointer.save(
      _like(), step=step, data_offset=0, config={}, metrics={'loss': loss}
    )

  def _expected(self):
    """By the words of `Keep`: the newest, every n-th, the best."""
    saved = sorted(self._losses)
    stay = set(saved[-self._keep.last :])
    stay |= {x for x in saved if self._keep.every and x % self._keep.every == 0}
    if self._keep.best and saved:
      stay.add(min(self._losses, key=self._losses.get))
    return sorted(stay)


@pytest.mark.parametrize(
  'seed',
  [
    *range(3),
    *(pytest.param(k, marks=pytest.mark.slow) for k in range(3, 20)),
  ],
)
def test_after_any_saves_kills_and_restarts_the_promised_steps_are_there(
  seed, tmp_path, monkeypatch, trial
):
  """Losses are all different, so that there is one best step."""
  random_numbers = random.Random(seed)
  keep = retention.Keep(
    last=random_numbers.randint(1, 3),
    every=random_numbers.choice([0, 6, 10]),
    best='' if seed % 3 == 2 else 'loss',
  )
  losses = random_numbers.sample(range(100), 13)
  acts = ['save', 'save', 'kill', 'restart', 'save', 'kill', 'save']
  random_numbers.shuffle(acts)
  with trial('saves, restarts and kills inside saves at random', len(acts)):
    sittings = _Sittings(tmp_path, keep)
    step = 0
    for act in ['save', *acts, 'save']:
      step += random_numbers.randint(1, 5)
      if act == 'restart':
        sittings.restart()
      elif act == 'save':
        sittings.save(step, losses.pop())
      else:
        sittings.kill(step, losses.pop(), monkeypatch)
    sittings.close()
    assert sittings.kills == 2


@pytest.fixture(scope='module')
def plain(tmp_path_factory):
  """A run at an ordinary place and time."""
  workdir = tmp_path_factory.mktemp('plain')
  code, _, errors = harm.run(workdir, num_steps=20)
  assert code == 0, errors
  return workdir


@pytest.mark.slow
def test_neither_time_zone_nor_language_nor_clock_nor_path_matter(
  plain, tmp_path, trial
):
  """The second sitting is a year before the first, at the end of the world."""
  workdir = tmp_path / 'a b' / 'ä дом 家' / "it's 100% {b} #c" / ('x' * 200)
  with trial('other time zone, language, clock; odd path'):
    for steps, ahead, environment in (
      (8, 0.0, {'TZ': 'Pacific/Kiritimati', 'LC_ALL': 'C.UTF-8'}),
      (20, -365 * 86400.0, {'TZ': 'Etc/GMT+12', 'LC_ALL': 'C'}),
    ):
      knobs = {'num_steps': steps, 'ahead': ahead}
      code, out, errors = harm.end(
        harm.start_all([(workdir, knobs)], environment)
      )
      assert code == 0, errors
    assert harm.said(out, 'FROM') == ['8']
    assert harm.said(out, 'ZONE') == ['-43200']
    assert harm.log(workdir) == harm.log(plain)
    assert harm.manifest(workdir, 20) == harm.manifest(plain, 20)


@pytest.mark.parametrize('letter', list('*?[]\\'))
def test_a_path_from_which_nothing_could_be_read_again_is_refused(
  letter, tmp_path
):
  """Orbax looks for its own files by patterns, of the whole path."""
  with pytest.raises(ValueError, match='its path holds') as error:
    checkpoint.Checkpointer(tmp_path / f'a{letter}b' / 'run')
  assert f'holds {letter}; name another' in str(error.value)


def test_such_a_path_is_refused_by_a_run_before_its_first_step(tmp_path, trial):
  with trial('path that Orbax cannot read again'):
    code, out, errors = harm.run(tmp_path / '[a]')
    assert code == 2
    assert 'FROM' not in out
    assert 'its path holds [ ]' in errors
