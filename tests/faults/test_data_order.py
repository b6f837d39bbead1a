"""A batch is a function of its number, whoever reads it, and from where."""

import random
import signal

import harm
import psutil
import pytest
import toy_run

from framebridge_jax.data import pipeline
from framebridge_jax.training import loop

pytestmark = pytest.mark.usefixtures('compiled_once')

# Seven clips, four a batch: an epoch ends within every second batch.
KNOBS = {'num_steps': 30, 'clips': 7}
COUNT = 15


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """A run that nobody disturbed."""
  workdir = tmp_path_factory.mktemp('whole')
  toy_run.train(workdir, toy_run.Toy(**KNOBS))
  return workdir


def _hashes(count, start=0, **changed):
  toy = toy_run.Toy(**KNOBS)
  options = {'seed': 0, 'batch_size': toy.batch, 'start': start} | changed
  with pipeline.batches(
    toy_run.source(toy.clips), toy_run.LOOK, **options
  ) as stream:
    return [loop.digest(next(stream)) for _ in range(count)]


@pytest.fixture(scope='module')
def want():
  return _hashes(COUNT)


def test_the_record_of_a_run_has_the_hashes_of_the_pipeline(whole, want):
  hashes = harm.hashes(whole)
  assert hashes[:COUNT] == want
  assert len(set(hashes)) == len(hashes) == KNOBS['num_steps']


@pytest.mark.parametrize('start', range(COUNT - 2))
def test_the_data_go_on_from_any_batch(want, start, trial):
  with trial('data opened at any batch'):
    assert _hashes(2, start) == want[start : start + 2]


class _CrashError(Exception):
  """Somebody pulled the plug."""


def _crash_at(step, monkeypatch):
  """Makes the loop's digest of a batch raise at the n-th call from here."""
  real, left = loop.digest, [step]

  def digest(batch):
    left[0] -= 1
    if not left[0]:
      raise _CrashError
    return real(batch)

  monkeypatch.setattr(loop, 'digest', digest)


def test_a_run_that_crashes_again_and_again_sees_each_batch_once(
  whole, tmp_path, monkeypatch, trial
):
  """At five random distances, each beyond the next save."""
  random_numbers = random.Random(3)
  for _ in range(5):
    with (
      trial('crash at a random step'),
      monkeypatch.context() as patch,
    ):
      _crash_at(random_numbers.randint(5, 7), patch)
      with pytest.raises(_CrashError):
        toy_run.train(tmp_path, toy_run.Toy(**KNOBS))
  seen = harm.hashes(tmp_path)
  assert 20 <= len(seen) < KNOBS['num_steps']
  assert seen == harm.hashes(whole)[: len(seen)]
  toy_run.train(tmp_path, toy_run.Toy(**KNOBS))
  assert harm.log(tmp_path) == harm.log(whole)


@pytest.mark.slow
def test_a_run_whose_workers_read_is_killed_and_sees_each_batch_once(
  whole, tmp_path, trial
):
  """The readers end too, without being told."""
  knobs = {**KNOBS, 'workers': 2}
  with trial('SIGKILL of a run with reading processes'):
    process = harm.start(tmp_path, **knobs, pause=0.05)
    harm.wait_for(lambda: harm.saved(tmp_path), process=process)
    workers = harm.children(process.pid)
    assert len(workers) >= 2
    code, _ = harm.kill(process)
    assert code == -signal.SIGKILL
    assert harm.log_lines(tmp_path) < KNOBS['num_steps']
    assert harm.wait_until(lambda: not any(map(harm.alive, workers)))
    code, _, errors = harm.run(tmp_path, **knobs)
    assert code == 0, errors
    assert harm.log(tmp_path) == harm.log(whole)


@pytest.mark.parametrize('num_workers', [1, 2, 4])
def test_reading_processes_do_not_change_a_batch(want, num_workers, trial):
  with trial('another number of reading processes'):
    before = set(harm.children(psutil.Process().pid))
    toy = toy_run.Toy(**KNOBS, workers=num_workers)
    hashes, started = [], set()
    with toy_run.open_batches(0, toy) as stream:
      for _ in range(COUNT):
        hashes.append(loop.digest(next(stream)))
        started |= set(harm.children(psutil.Process().pid)) - before
    assert hashes == want
    assert len(started) >= num_workers


@pytest.mark.parametrize('threads', [1, 16])
@pytest.mark.parametrize('ready', [1, 8])
def test_neither_threads_nor_batches_held_ready_change_a_batch(
  want, threads, ready, trial
):
  with trial('another number of threads, or of batches held ready'):
    reading = pipeline.Reading(num_threads=threads, prefetch=ready)
    assert _hashes(COUNT, reading=reading) == want
