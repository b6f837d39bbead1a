"""The loop: who is called when, what survives, and what a pipe shows."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from framebridge_jax.training import checkpoint, loop, sharding, state, step
from framebridge_jax.training import logging as run_logging

MESH_SIZES = {'data': 2, 'fsdp': 1, 'tensor': 1, 'frames': 1}


def _init(key):
  w = jax.random.normal(key, (6, 4))
  return {
    'w': nn.LogicallyPartitioned(w, ('embed', 'mlp')),
    'b': jnp.zeros((1, 4)),
  }


def _loss(params, batch, keys):
  """A regression with noise from the keys; NaN where the batch has it."""
  x = batch['video'].reshape(len(batch['label']), -1)
  noise = jax.vmap(lambda key: jax.random.normal(key, (4,)))(keys)
  error = jnp.tanh(x @ params['w'] + params['b']) - noise
  return jnp.mean(error**2), {'mse': jnp.mean(jnp.abs(error))}


def _loss_with_broken_gradient(params, batch, keys):
  """Finite itself; its gradient is infinite where the batch is 0."""
  total = batch['video'].sum()
  return jnp.sqrt(jnp.abs(total * params['w'].sum())), {}


def _batches(first, spoiled=None, value=np.nan):
  """Batch k is a function of k alone."""
  while True:
    rng = np.random.default_rng(first)
    video = rng.normal(size=(4, 2, 1, 1, 3)).astype(np.float32)
    if first == spoiled:
      video = np.full_like(video, value)
    yield {'video': video, 'label': np.zeros(4, np.int32)}
    first += 1


def _train(workdir, num_steps, *, loss=_loss, callbacks=(), **changes):
  """Trains as cli/train does: from the newest checkpoint, if there is one."""
  sizes = {**MESH_SIZES, **changes.pop('sizes', {})}
  mesh = sharding.make_mesh(sizes, jax.devices()[:2])
  optimizer = optax.adam(0.05)
  made = state.create(
    _init,
    optimizer,
    jax.random.key(0),
    mesh,
  )
  every = {'log_every': 2, 'checkpoint_every': 3}
  every |= {k: v for k, v in changes.items() if k in every}
  batches = {k: v for k, v in changes.items() if k not in every}
  with checkpoint.Checkpointer(workdir, keep=9) as checkpointer:
    if checkpointer.latest_step is not None:
      made = checkpointer.restore(made).state
    first = int(made.step)
    with run_logging.Logger(workdir, first_step=first + 1) as logger:
      return loop.train(
        step.make_step(loss, optimizer, ema_decay=0.9, key=jax.random.key(1)),
        made,
        _batches(first, **batches),
        schedule=loop.Schedule(num_steps=num_steps, **every),
        mesh=mesh,
        checkpointer=checkpointer,
        logger=logger,
        data_offset=0,
        config={},
        callbacks=callbacks,
      )


def _lines(workdir):
  return run_logging.read(workdir / 'metrics.jsonl')


def _saved(workdir):
  return sorted(int(x.name) for x in (workdir / 'checkpoints').iterdir())


def test_every_step_is_logged_and_checkpoints_stand_where_they_should(tmp_path):
  final = _train(tmp_path, 7)
  assert [line['step'] for line in _lines(tmp_path)] == [1, 2, 3, 4, 5, 6, 7]
  assert _saved(tmp_path) == [3, 6, 7]
  assert final.step == 7


def test_a_resumed_run_has_the_losses_of_an_uninterrupted_one_to_the_bit(
  tmp_path,
):
  whole = _train(tmp_path / 'whole', 7)
  _train(tmp_path / 'parts', 3)
  resumed = _train(tmp_path / 'parts', 7)
  assert _lines(tmp_path / 'parts') == _lines(tmp_path / 'whole')
  assert len({line['loss'] for line in _lines(tmp_path / 'whole')}) == 7
  jax.tree.map(np.testing.assert_array_equal, resumed, whole)


@pytest.mark.parametrize(
  ('sizes', 'spec'),
  [
    ({}, ()),
    ({'data': 1, 'fsdp': 2}, ('fsdp',)),
    ({'data': 1, 'tensor': 2}, (None, 'tensor')),
  ],
  ids=['data', 'fsdp', 'tensor'],
)
def test_a_step_is_compiled_once_and_leaves_the_state_where_it_was(
  tmp_path, sizes, spec, caplog
):
  """A state that comes back laid out otherwise would compile again."""
  with jax.log_compiles():
    final = _train(tmp_path, 4, sizes=sizes)
  compiled = [
    x.getMessage()
    for x in caplog.records
    if 'Finished XLA compilation of jit(step)' in x.getMessage()
  ]
  assert len(compiled) == 1
  for tree in (final.params, final.ema, final.opt_state[0].mu):
    for name, sides in (('w', spec), ('b', ())):
      mesh = tree[name].sharding.mesh
      want = jax.sharding.NamedSharding(mesh, jax.P(*sides))
      assert tree[name].sharding.is_equivalent_to(want, 2)


def test_callbacks_run_after_their_steps_and_the_last_with_its_state(tmp_path):
  called = []

  def note(name):
    return lambda state, step: called.append((name, step, int(state.step)))

  callbacks = [
    loop.Callback(every=3, run=note('a')),
    loop.Callback(every=100, run=note('b')),
  ]
  _train(tmp_path / 'seven', 7, callbacks=callbacks)
  assert called == [('a', 3, 3), ('a', 6, 6), ('a', 7, 7), ('b', 7, 7)]
  called.clear()
  _train(tmp_path / 'six', 6, callbacks=callbacks)
  assert called == [('a', 3, 3), ('a', 6, 6), ('b', 6, 6)]


def test_a_loss_that_is_not_a_number_stops_the_run_before_the_next_save(
  tmp_path,
):
  """The window is long: the save at 6 is what finds step 5."""
  with pytest.raises(
    loop.NonFiniteError, match=r'step 5: .*loss.*learning_rate'
  ):
    _train(tmp_path, 9, spoiled=4, log_every=100)
  assert _saved(tmp_path) == [3]


def test_a_broken_step_that_is_saved_itself_is_not_saved(tmp_path):
  with pytest.raises(loop.NonFiniteError, match='step 6: '):
    _train(tmp_path, 9, spoiled=5, log_every=100)
  assert _saved(tmp_path) == [3]


def test_a_gradient_that_is_not_finite_stops_the_run_too(tmp_path):
  with pytest.raises(loop.NonFiniteError, match='step 2: grad_norm'):
    _train(tmp_path, 9, loss=_loss_with_broken_gradient, spoiled=1, value=0.0)
  assert _lines(tmp_path)[-1]['loss'] == 0
  assert _saved(tmp_path) == []


def test_no_callback_sees_a_state_that_followed_a_broken_step(tmp_path):
  called = []
  callback = loop.Callback(every=1, run=lambda _, step: called.append(step))
  with pytest.raises(loop.NonFiniteError, match='step 3: '):
    _train(tmp_path, 9, spoiled=2, log_every=100, callbacks=[callback])
  assert called == [1, 2]


def test_in_a_pipe_every_window_is_one_line(tmp_path, monkeypatch, capfd):
  said = []
  monkeypatch.setattr(loop.logging, 'info', lambda *args: said.append(args))
  _train(tmp_path, 7, checkpoint_every=100)
  shown = [args[0] % args[1:] for args in said if 'ETA' in str(args[0])]
  assert [line.split()[1] for line in shown] == ['2/7', '4/7', '6/7', '7/7']
  for line in shown:
    assert '\n' not in line
    assert 'loss' in line
    assert 'ETA' in line
  assert '\r' not in capfd.readouterr().err


def test_speed_leaves_out_compilation_and_callbacks(tmp_path, monkeypatch):
  """A clock that the test turns: 2 steps of 10 frames in 4 seconds."""
  now = [0.0]
  monkeypatch.setattr(loop.time, 'perf_counter', lambda: now[0])

  def take(progress, step, seconds):
    now[0] += seconds
    progress.add(step, {'loss': jnp.ones(())}, frames=10)

  with (
    run_logging.Logger(tmp_path, first_step=1) as logger,
    loop.Progress(logger, first=0, num_steps=9) as progress,
  ):
    rates = []
    monkeypatch.setattr(logger, 'write', lambda *args: rates.append(args[2]))
    take(progress, 1, 100.0)
    take(progress, 2, 2.0)
    take(progress, 3, 2.0)
    with progress.paused():
      now[0] += 500.0
    take(progress, 4, 4.0)
    progress.flush()
  assert rates == [{'frames_per_second': 5.0}, {'frames_per_second': 2.5}]
