"""The loop: who is called when, what survives, and what a pipe shows."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from framebridge_jax.training import (
  checkpoint,
  guards,
  loop,
  progress,
  retention,
  sharding,
  signals,
  state,
  step,
  watchdog,
)
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
    _init, optimizer, jax.random.key(0), mesh, ema_decays=(0.9,)
  )
  every = {'log_every': 2, 'checkpoint_every': 3}
  every |= {k: v for k, v in changes.items() if k in every}
  spoiled = {k: v for k, v in changes.items() if k in ('spoiled', 'value')}
  with checkpoint.Checkpointer(
    workdir, keep=retention.Keep(last=9)
  ) as checkpointer:
    if checkpointer.latest_step is not None:
      made = checkpointer.restore(made).state
    first = int(made.step)
    with run_logging.Logger(workdir, first_step=first + 1) as logger:
      return loop.train(
        step.make_step(
          loss, optimizer, ema_decays=(0.9,), key=jax.random.key(1)
        ),
        made,
        _batches(first, **spoiled),
        schedule=loop.Schedule(num_steps=num_steps, **every),
        mesh=mesh,
        saving=loop.Saving(
          checkpointer=checkpointer,
          data_offset=0,
          config={},
          stop_on_error=changes.get('stop_on_error', True),
        ),
        watch=loop.Watch(
          guard=guards.Guard(
            folder=workdir / 'dumps',
            max_bad_steps=changes.get('max_bad_steps', 0),
            spike=100.0,
            reread=lambda position: next(_batches(position, **spoiled)),
          ),
          dog=watchdog.Watchdog(0, end=False),
          requests=changes.get('requests', signals.Requests()),
        ),
        logger=logger,
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
  for tree in (final.params, final.ema['0.9'], final.opt_state[0].mu):
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
    guards.BadRegionError, match=r'up to step 5 .*loss nan'
  ) as error:
    _train(tmp_path, 9, spoiled=4, log_every=100)
  assert error.value.position == 4
  assert _saved(tmp_path) == [3]


def test_a_broken_step_that_is_saved_itself_is_not_saved(tmp_path):
  with pytest.raises(guards.BadRegionError, match='up to step 6 '):
    _train(tmp_path, 9, spoiled=5, log_every=100)
  assert _saved(tmp_path) == [3]


def test_a_gradient_that_is_not_finite_stops_the_run_too(tmp_path):
  with pytest.raises(guards.BadRegionError, match='step 2 .*norm (nan|inf)'):
    _train(tmp_path, 9, loss=_loss_with_broken_gradient, spoiled=1, value=0.0)
  assert _lines(tmp_path)[-1]['loss'] == 0
  assert _saved(tmp_path) == []


@pytest.fixture
def full_from_4(monkeypatch):
  """No save from step 4 on can even start."""
  real = checkpoint.Checkpointer.save

  def save(self, state, *, step, **options):
    if step >= 4:
      raise checkpoint.SaveError(f'step {step}: no space')
    real(self, state, step=step, **options)

  monkeypatch.setattr(checkpoint.Checkpointer, 'save', save)


@pytest.mark.usefixtures('full_from_4')
def test_the_last_save_must_succeed_where_others_need_not(tmp_path):
  with pytest.raises(checkpoint.SaveError, match='step 7: no space'):
    _train(tmp_path, 7, stop_on_error=False)
  assert _saved(tmp_path) == [3]
  assert [line['step'] for line in _lines(tmp_path)][-1] == 7


@pytest.mark.usefixtures('full_from_4')
@pytest.mark.parametrize('asked', [5, 6])
def test_a_run_that_is_asked_to_end_does_not_claim_a_save_that_failed(
  tmp_path, asked
):
  """At 6 the loop tries by itself, and again because it is asked."""
  requests = signals.Requests()

  def ask(state, step):
    requests.received = 15 if step == asked else None

  with pytest.raises(checkpoint.SaveError, match=f'step {asked}: no space'):
    _train(
      tmp_path,
      9,
      stop_on_error=False,
      requests=requests,
      callbacks=[loop.Callback(every=1, run=ask)],
    )


def test_a_skipped_step_does_not_spoil_what_a_checkpoint_is_chosen_by(
  tmp_path, monkeypatch
):
  chosen_by = {}
  real = checkpoint.Checkpointer.save

  def save(self, state, *, step, metrics, **options):
    chosen_by[step] = metrics
    real(self, state, step=step, metrics=metrics, **options)

  monkeypatch.setattr(checkpoint.Checkpointer, 'save', save)
  _train(tmp_path, 6, spoiled=4, max_bad_steps=1, log_every=100)
  losses = [line['loss'] for line in _lines(tmp_path)]
  assert np.isnan(losses[4])
  assert chosen_by[6]['loss'] == pytest.approx(np.mean([losses[3], losses[5]]))


def test_no_callback_sees_a_state_that_followed_a_broken_step(tmp_path):
  called = []
  callback = loop.Callback(every=1, run=lambda _, step: called.append(step))
  with pytest.raises(guards.BadRegionError, match='up to step 3 '):
    _train(tmp_path, 9, spoiled=2, log_every=100, callbacks=[callback])
  assert called == [1, 2]


def test_in_a_pipe_every_window_is_one_line(tmp_path, monkeypatch, capfd):
  said = []
  monkeypatch.setattr(progress.logging, 'info', lambda *args: said.append(args))
  _train(tmp_path, 7, checkpoint_every=100)
  shown = [args[0] % args[1:] for args in said if 'ETA' in str(args[0])]
  assert [line.split()[1] for line in shown] == ['2/7', '4/7', '6/7', '7/7']
  for line in shown:
    assert '\n' not in line
    assert 'loss' in line
    assert 'ETA' in line
  assert '\r' not in capfd.readouterr().err
