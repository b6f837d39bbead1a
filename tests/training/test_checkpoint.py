"""A checkpoint gives back every bit, on any layout, or says that it cannot."""

import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from framebridge_jax.training import checkpoint, sharding, state

ONE = {'data': 1, 'fsdp': 1, 'tensor': 1, 'frames': 1}
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
  made = state.create(init, optimizer, jax.random.key(0), mesh)
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
  with checkpoint.Checkpointer(workdir, keep=2) as checkpointer:
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
  with checkpoint.Checkpointer(workdir, keep=2) as checkpointer:
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
    ema = checkpointer.restore_ema(like, layout)
  _assert_equal(ema, made.ema)
  assert {x.sharding for x in jax.tree.leaves(ema)} == {layout}


def test_the_config_travels_with_the_state(saved):
  path = saved[0] / 'checkpoints' / '7' / 'record' / 'metadata'
  record = json.loads(path.read_text())
  assert record['config'] == CONFIG
  assert record['step'] == 7
  assert record['data_offset'] == 11


def test_without_a_checkpoint_the_error_names_the_folder(tmp_path):
  with checkpoint.Checkpointer(tmp_path, keep=2) as checkpointer:
    assert checkpointer.latest_step is None
    made = _make(_mesh())
    layout = made.step.sharding
    for restore in (
      lambda: checkpointer.restore(made),
      lambda: checkpointer.restore_ema(made.ema, layout),
    ):
      with pytest.raises(checkpoint.NoCheckpointError) as error:
        restore()
      assert str(tmp_path / 'checkpoints') in str(error.value)
      assert '--workdir' in str(error.value)


def test_what_a_killed_save_left_is_passed_over_and_cleaned(tmp_path):
  """Orbax writes into STEP.orbax-checkpoint-tmp and renames at the end."""
  made = _make(_mesh())
  with checkpoint.Checkpointer(tmp_path, keep=2) as checkpointer:
    _save(checkpointer, made, 3)
  left = tmp_path / 'checkpoints' / '5.orbax-checkpoint-tmp'
  (left / 'state').mkdir(parents=True)
  (left / 'state' / 'half').write_bytes(b'cut sh')
  with checkpoint.Checkpointer(tmp_path, keep=2) as checkpointer:
    assert checkpointer.latest_step == 3
    _assert_equal(checkpointer.restore(_make(_mesh(), seed=1)).state, made)
  assert not left.exists()


def test_read_only_changes_nothing_on_disk(tmp_path):
  """Another run may be saving there: its unfinished folder is its own."""
  with checkpoint.Checkpointer(tmp_path, keep=2) as checkpointer:
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
  with checkpoint.Checkpointer(tmp_path, keep=2) as checkpointer:
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
  with checkpoint.Checkpointer(tmp_path, keep=1) as checkpointer:
    checkpointer.save(made, step=1, data_offset=0, config=CONFIG)
    for _ in range(5):
      made = on(made)
    checkpointer.wait()
    restored = checkpointer.restore(made).state
  _assert_equal(restored, want)
