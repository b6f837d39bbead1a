"""A checkpoint gives back every bit, on any layout, or says that it cannot."""

import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from framebridge_jax.training import (
  checkpoint,
  manifests,
  restoring,
  retention,
  sharding,
  state,
)

ONE = {'data': 1, 'fsdp': 1, 'tensor': 1, 'frames': 1}
KEEP = retention.Keep(last=2)
CONFIG = {'seed': 3, 'model': {'width': 8}, 'prior': 'replicate'}


def _mesh(**sizes):
  sizes = {**ONE, **sizes}
  count = int(np.prod(list(sizes.values())))
  return sharding.make_mesh(sizes, jax.devices()[:count])


def _make(mesh, seed=0):
  """A state whose every leaf is random, moments and step included."""

  def init(key):
    kernel = jax.random.normal(key, (8, 12))
    return {
      'kernel': nn.LogicallyPartitioned(kernel, ('embed', 'heads')),
      'bias': jnp.ones(12),
      'half': jnp.ones(4, jnp.bfloat16),
    }

  optimizer = optax.adamw(1e-3)
  made = state.create(
    init, optimizer, jax.random.key(0), mesh, ema_decays=(0.9,)
  )
  rng = np.random.default_rng(seed)
  return jax.tree.map(
    lambda x: jax.device_put(
      np.asarray(100 * rng.normal(size=x.shape)).astype(x.dtype), x.sharding
    ),
    made,
  )


def _assert_equal(a, b):
  def same(x, y):
    assert x.dtype == y.dtype
    np.testing.assert_array_equal(x, y)

  jax.tree.map(same, a, b)


def _save(checkpointer, made, step, data_offset=0):
  checkpointer.save(made, step=step, data_offset=data_offset, config=CONFIG)
  checkpointer.wait()


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
  """A workdir with step 7 of a sharded state, and that state."""
  workdir = tmp_path_factory.mktemp('run')
  made = _make(_mesh(fsdp=2, tensor=2))
  with checkpoint.Checkpointer(workdir, keep=KEEP) as checkpointer:
    _save(checkpointer, made, 7, data_offset=11)
  return workdir, made


@pytest.mark.parametrize(
  'sizes', [{'fsdp': 2, 'tensor': 2}, {}, {'fsdp': 4}], ids=str
)
def test_a_state_comes_back_to_the_bit_on_any_mesh_laid_out_as_asked(
  saved, sizes
):
  workdir, made = saved
  like = _make(_mesh(**sizes), seed=1)
  with checkpoint.Checkpointer(workdir, keep=KEEP) as checkpointer:
    restored = checkpointer.restore(like)
  assert restored.data_offset == 11
  assert type(restored.state) is state.TrainState
  _assert_equal(restored.state, made)
  jax.tree.map(
    lambda x, y: (
      x.sharding.is_equivalent_to(y.sharding, x.ndim) or pytest.fail()
    ),
    restored.state,
    like,
  )


def test_the_average_comes_back_alone_and_to_the_bit(saved):
  workdir, made = saved
  like = jax.eval_shape(lambda: made.params)
  layout = jax.sharding.NamedSharding(_mesh(data=2), jax.P())
  with checkpoint.Checkpointer(workdir, read_only=True) as checkpointer:
    ema = checkpointer.restore_average(like, layout, decay=0.9).params
  _assert_equal(ema, made.ema['0.9'])
  assert {x.sharding for x in jax.tree.leaves(ema)} == {layout}


def test_the_config_travels_with_the_state(saved):
  path = saved[0] / 'checkpoints' / '7' / 'record' / 'metadata'
  record = json.loads(path.read_text())
  assert record['config'] == CONFIG
  assert record['step'] == 7
  assert record['data_offset'] == 11


def test_without_a_checkpoint_the_error_names_the_folder(tmp_path):
  with checkpoint.Checkpointer(tmp_path, keep=KEEP) as checkpointer:
    assert checkpointer.latest_step is None
    made = _make(_mesh())
    layout = made.step.sharding
    for restore in (
      lambda: checkpointer.restore(made),
      lambda: checkpointer.restore_average(made.params, layout, decay=0.9),
    ):
      with pytest.raises(restoring.NoCheckpointError) as error:
        restore()
      assert str(tmp_path / 'checkpoints') in str(error.value)
      assert '--workdir' in str(error.value)


def test_what_a_killed_save_left_is_passed_over_and_cleaned(tmp_path):
  """Orbax writes into STEP.orbax-checkpoint-tmp and renames at the end."""
  made = _make(_mesh())
  with checkpoint.Checkpointer(tmp_path, keep=KEEP) as checkpointer:
    _save(checkpointer, made, 3)
  left = tmp_path / 'checkpoints' / '5.orbax-checkpoint-tmp'
  (left / 'state').mkdir(parents=True)
  (left / 'state' / 'half').write_bytes(b'cut sh')
  with checkpoint.Checkpointer(tmp_path, keep=KEEP) as checkpointer:
    assert checkpointer.latest_step == 3
    _assert_equal(checkpointer.restore(_make(_mesh(), seed=1)).state, made)
  assert not left.exists()


def test_read_only_changes_nothing_on_disk(tmp_path):
  """Another run may be saving there: its unfinished folder is its own."""
  with checkpoint.Checkpointer(tmp_path, keep=KEEP) as checkpointer:
    for step in (1, 2):
      _save(checkpointer, _make(_mesh()), step)
  (tmp_path / 'checkpoints' / '3.orbax-checkpoint-tmp' / 'state').mkdir(
    parents=True
  )
  before = sorted(tmp_path.rglob('*'))
  with checkpoint.Checkpointer(tmp_path, read_only=True) as checkpointer:
    assert checkpointer.latest_step == 2
  assert sorted(tmp_path.rglob('*')) == before
  with checkpoint.Checkpointer(tmp_path / 'no', read_only=True) as checkpointer:
    assert checkpointer.latest_step is None
  assert not (tmp_path / 'no').exists()


def test_the_newest_steps_are_kept_and_no_more(tmp_path):
  made = _make(_mesh())
  with checkpoint.Checkpointer(tmp_path, keep=KEEP) as checkpointer:
    for step in (1, 2, 3, 10):
      _save(checkpointer, made, step)
    assert checkpointer.latest_step == 10
  kept = {path.name for path in (tmp_path / 'checkpoints').iterdir()}
  assert kept == {'3', '10'}


def test_a_save_under_way_is_not_touched_by_the_steps_that_follow(tmp_path):
  """The step gives its state's memory away while Orbax still writes."""
  made = _make(_mesh(fsdp=2))
  want = jax.tree.map(lambda x: np.array(x, copy=True), made)
  on = jax.jit(
    lambda s: jax.tree.map(lambda x: x + jnp.ones_like(x), s), donate_argnums=0
  )
  with checkpoint.Checkpointer(tmp_path, keep=KEEP) as checkpointer:
    checkpointer.save(made, step=1, data_offset=0, config=CONFIG)
    for _ in range(5):
      made = on(made)
    checkpointer.wait()
    restored = checkpointer.restore(made).state
  _assert_equal(restored, want)


@pytest.fixture
def full(monkeypatch):
  """What makes the manifest of every save fail, and what ends that."""

  async def fail(self, directory, args):
    raise OSError(28, 'No space left on device')

  with monkeypatch.context() as patch:
    patch.setattr(manifests.DigestHandler, '_write', fail)
    yield patch.undo


def test_of_saves_that_failed_nothing_is_left_and_the_next_one_works(
  tmp_path, full
):
  """Orbax's other writers may still be at it when the failure is known."""
  made = _make(_mesh())
  with checkpoint.Checkpointer(tmp_path, keep=KEEP) as checkpointer:
    for step in (1, 2):
      with pytest.raises(checkpoint.SaveError, match='No space left'):
        _save(checkpointer, made, step)
    full()
    _save(checkpointer, made, 3)
    left = {path.name for path in (tmp_path / 'checkpoints').iterdir()}
    assert left == {'3'}


@pytest.mark.usefixtures('full')
def test_a_save_that_fails_at_the_end_does_not_hide_what_ended_the_run(
  tmp_path,
):
  made = _make(_mesh())
  with pytest.raises(RuntimeError, match='what ended'):  # noqa: SIM117
    with checkpoint.Checkpointer(tmp_path, keep=KEEP) as checkpointer:
      checkpointer.save(made, step=1, data_offset=0, config=CONFIG)
      raise RuntimeError('what ended')
  assert list((tmp_path / 'checkpoints').iterdir()) == []
  with pytest.raises(checkpoint.SaveError, match='No space left'):  # noqa: SIM117
    with checkpoint.Checkpointer(tmp_path, keep=KEEP) as checkpointer:
      checkpointer.save(made, step=1, data_offset=0, config=CONFIG)


def test_a_step_that_is_not_saved_because_it_is_there_is_an_error(tmp_path):
  made = _make(_mesh())
  with checkpoint.Checkpointer(tmp_path, keep=KEEP) as checkpointer:
    _save(checkpointer, made, 5)
    for step in (4, 5):
      with pytest.raises(checkpoint.SaveError, match='step 5 is there'):
        _save(checkpointer, made, step)


@pytest.mark.parametrize('spoilt', [b'', b'{"loss', b'\xff\xfe'], ids=str)
def test_metrics_that_cannot_be_read_cost_no_step(tmp_path, spoilt):
  """Orbax would refuse to open any of the checkpoints."""
  made = _make(_mesh())
  keep = retention.Keep(last=1, best='loss')
  with checkpoint.Checkpointer(tmp_path, keep=keep) as checkpointer:
    for step in (1, 2):
      checkpointer.save(
        made,
        step=step,
        data_offset=0,
        config=CONFIG,
        metrics={'loss': float(step)},
      )
  path = tmp_path / 'checkpoints' / '1' / 'metrics' / 'metrics'
  assert json.loads(path.read_text()) == {'loss': 1.0}
  path.write_bytes(spoilt)
  with checkpoint.Checkpointer(tmp_path, keep=keep) as checkpointer:
    _assert_equal(checkpointer.restore(_make(_mesh(), seed=1)).state, made)
  assert (tmp_path / 'damaged' / '1.metrics').read_bytes() == spoilt
  assert _steps_in(tmp_path) == {'1', '2'}


def _steps_in(workdir):
  return {path.name for path in (workdir / 'checkpoints').iterdir()}
