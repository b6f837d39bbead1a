"""A training run of its own process, tiny, through the real loop.

  python tests/toy_run.py WORKDIR '{"num_steps": 40, "fault": "after_commit"}'

Several runs, one after the other, are as many pairs of words.  A small network
learns noise; batch `k` is a function of `k`.  With a fault the process kills
itself at that point of the second save.
"""

import contextlib
import dataclasses
import hashlib
import json
import math
import os
import pathlib
import resource
import signal
import sys
import time

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import tiny
from absl import flags
from jax.experimental import multihost_utils
from orbax.checkpoint import checkpoint_manager
from orbax.checkpoint import path as ocp_path

from framebridge_jax.data import clips as data_clips
from framebridge_jax.data import pipeline, sources, visits
from framebridge_jax.models import latte
from framebridge_jax.training import (
  checkpoint,
  digests,
  guards,
  hosts,
  lock,
  loop,
  manifests,
  retention,
  sharding,
  signals,
  silence,
  state,
  step,
  watchdog,
)
from framebridge_jax.training import logging as run_logging

# Where a fault can strike: (owner, method, before or after it).
FAULTS = {
  'before_save': (digests, 'fetch', 'before'),
  'tmp_created': (manifests.DigestHandler, 'async_save', 'before'),
  'before_manifest': (manifests.DigestHandler, '_write', 'before'),
  'manifest_written': (manifests.DigestHandler, '_write', 'after'),
  'before_commit': (
    ocp_path.atomicity.AtomicRenameTemporaryPath,
    'finalize',
    'before',
  ),
  'after_commit': (
    ocp_path.atomicity.AtomicRenameTemporaryPath,
    'finalize',
    'after',
  ),
  'before_delete_old': (
    checkpoint_manager.CheckpointManager,
    '_finalize_checkpoint',
    'after',
  ),
  'log_written': (run_logging.Logger, 'write', 'after'),
}


OPTIMIZER = optax.adam(0.01)
NETWORK = tiny.make_latte(prior=False)
SLOWER = optax.adam(2e-4)  # as recipes have it, for the Latte
LOOK = visits.Look(size=2, frames=2, stride=2)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Toy:
  """Of a run.

  Attributes:
    num_steps: steps in all.
    checkpoint_every: steps between saves.
    keep: newest checkpoints that stay.
    width: of the network; 1000 makes a state of 50 MB.
    pause: seconds that each step waits.
    latte: whether the network is a Latte of two blocks, of which every axis of
      a mesh holds something.
    mesh: devices along `fsdp`.
    data: devices along `data`.
    tensor: devices along `tensor`.
    frames: devices along `frames`.
    batch: samples a step.
    clips: of a source that the package's own pipeline reads; 0: noise is made.
    workers: of that pipeline.
    ahead: seconds that the wall clock is ahead.
    on_save_error: as in a config.
    spoiled: positions whose batch holds NaN.
    fault: a name of FAULTS, or none.
    limit: bytes that a file may have, 0: any.
  """

  num_steps: int = 40
  checkpoint_every: int = 4
  keep: int = 2
  width: int = 16
  pause: float = 0.0
  latte: bool = False
  mesh: int = 1
  data: int = 1
  tensor: int = 1
  frames: int = 1
  batch: int = 4
  clips: int = 0
  workers: int = 0
  ahead: float = 0.0
  on_save_error: str = 'stop'
  spoiled: tuple[int, ...] = ()
  fault: str = ''
  limit: int = 0


def train(workdir: pathlib.Path, toy: Toy) -> None:
  workdir.mkdir(parents=True, exist_ok=True)
  with (
    lock.hold(workdir) if hosts.first() else contextlib.nullcontext(),
    signals.Requests() as requests,
    checkpoint.Checkpointer(
      workdir, keep=retention.Keep(last=toy.keep)
    ) as checkpointer,
  ):
    now = fresh(toy)
    data_offset = 0
    if checkpointer.latest_step is not None:
      now, data_offset = checkpointer.restore(now)
    first = int(now.step)
    print(f'FROM {first}', flush=True)
    print(f'HOLDS {digest(now)}', flush=True)
    with (
      jax.set_mesh(_mesh(toy)),
      nn.logical_axis_rules(sharding.RULES),
      (
        run_logging.Logger(workdir, first_step=first + 1)
        if hosts.first()
        else silence.Silent()
      ) as logger,
      open_batches(first + data_offset, toy) as batches,
      watchdog.Watchdog(60, end=True) as dog,
    ):
      now = loop.train(
        step.make_step(
          _denoise if toy.latte else _loss,
          _optimizer(toy),
          ema_decays=(0.9,),
          key=jax.random.key(1),
        ),
        now,
        batches,
        schedule=loop.Schedule(
          num_steps=toy.num_steps,
          log_every=2,
          checkpoint_every=toy.checkpoint_every,
        ),
        mesh=_mesh(toy),
        saving=loop.Saving(
          checkpointer=checkpointer,
          data_offset=data_offset,
          config=dataclasses.asdict(toy),
          stop_on_error=toy.on_save_error == 'stop',
        ),
        watch=loop.Watch(
          guard=guards.Guard(
            folder=workdir / 'dumps',
            max_bad_steps=3,
            spike=1e3,
            reread=lambda position: _reread(position, toy),
          ),
          dog=dog,
          requests=requests,
        ),
        logger=logger,
      )
    print(f'ENDS {digest(now)}', flush=True)


def digest(now: state.TrainState) -> str:
  """Of all arrays, each as a whole; and a matrix's parts / its devices."""
  content = hashlib.sha256()
  # Of copies: an array that numpy has seen is not given away to the next step.
  for leaf in jax.tree.leaves(now):
    whole = jnp.copy(leaf)
    if not whole.is_fully_addressable:
      whole = multihost_utils.process_allgather(whole, tiled=True)
    content.update(np.asarray(whole).tobytes())
  matrix = now.params.get('into', jax.tree.leaves(now.params)[0])
  held = [str(x.index) for x in matrix.addressable_shards]
  return f'{content.hexdigest()} {len(set(held))}/{len(held)}'


def fresh(toy: Toy) -> state.TrainState:
  return state.create(
    _init_latte if toy.latte else lambda key: _init(key, toy.width),
    _optimizer(toy),
    jax.random.key(0),
    _mesh(toy),
    ema_decays=(0.9,),
  )


def _optimizer(toy):
  return SLOWER if toy.latte else OPTIMIZER


def _mesh(toy):
  sizes = {
    'data': toy.data,
    'fsdp': toy.mesh,
    'tensor': toy.tensor,
    'frames': toy.frames,
  }
  return sharding.make_mesh(sizes, jax.devices()[: math.prod(sizes.values())])


def _init(key, width):
  into, out = jax.random.split(key)
  return {
    'into': nn.LogicallyPartitioned(
      0.1 * jax.random.normal(into, (24, width)), ('embed', 'mlp')
    ),
    'wide': nn.LogicallyPartitioned(
      jnp.full((width, width), 1e-3), ('embed', 'mlp')
    ),
    'out': nn.LogicallyPartitioned(
      0.1 * jax.random.normal(out, (width, 4)), ('embed', 'mlp')
    ),
  }


def _loss(params, batch, keys):
  video = jnp.asarray(batch['video'], jnp.float32)
  x = video.reshape(len(batch['label']), -1)
  noise = jax.vmap(lambda key: jax.random.normal(key, (4,)))(keys)
  hidden = jnp.tanh(jnp.tanh(x @ params['into']) @ params['wide'])
  error = hidden @ params['out'] - noise
  return jnp.mean(error**2), {'mse': jnp.mean(jnp.abs(error))}


def _init_latte(key):
  """Matrices at random: at its own start a Latte answers 0."""
  z, t, cond = tiny.make_inputs(4)
  boxed = NETWORK.init(key, z, t, cond)
  flat, shape = jax.tree.flatten(boxed)
  return jax.tree.unflatten(
    shape,
    [
      x + 0.1 * jax.random.normal(jax.random.fold_in(key, i), x.shape)
      for i, x in enumerate(flat)
    ],
  )


def _denoise(params, batch, keys):
  z = jnp.asarray(batch['video'], jnp.float32)
  noise = jax.vmap(lambda key: jax.random.normal(key, z.shape[1:]))(keys)
  t = jnp.abs(noise[:, :, 0, 0, 0])
  cond = latte.Cond(label=batch['label'] % tiny.CLASSES)
  error = NETWORK.apply(params, z + noise, t, cond) - noise
  # Frame by frame: one long sum would round more than devices differ.
  frames = jnp.mean(error**2, axis=(2, 3, 4))
  return jnp.mean(frames), {'mse': jnp.mean(jnp.abs(error))}


@contextlib.contextmanager
def open_batches(position: int, toy: Toy):
  """Batches from a position on."""
  if not toy.clips:
    yield _paced(_noise(position, toy), toy)
    return
  with pipeline.batches(
    source(toy.clips),
    LOOK,
    seed=0,
    batch_size=toy.batch,
    start=position,
    reading=pipeline.Reading(num_workers=toy.workers),
  ) as stream:
    yield _paced(stream, toy)


def _reread(position, toy):
  with open_batches(position, toy) as batches:
    return next(batches)


def source(clips: int) -> sources.Source:
  """Clip `i` is of class `i`; its frame `j` shows both."""
  records = []
  for i in range(clips):
    video = np.full((9, 2, 2, 3), i, np.uint8)
    video[:, 0, 0, 0] = np.arange(9)
    records.append({'video': data_clips.Decoded(video), 'label': i})
  return sources.Source(
    records=records, class_names=tuple(map(str, range(clips)))
  )


def _paced(batches, toy):
  for batch in batches:
    time.sleep(toy.pause)
    yield batch


def _noise(position, toy):
  while True:
    rng = np.random.default_rng(position)
    shape = (4, 8, 8, 3) if toy.latte else (2, 2, 2, 3)
    video = rng.normal(size=(toy.batch, *shape)).astype(np.float32)
    if position in toy.spoiled:
      video[0] = np.nan
    label = np.full(toy.batch, position, np.int32)
    # A process has its own samples of a batch.
    own = np.split(np.arange(toy.batch), jax.process_count())
    mine = own[jax.process_index()]
    yield {'video': video[mine], 'label': label[mine]}
    position += 1


def _strike(name, step):
  """Makes a fault's method the last thing done, in the save of a step."""
  owner, method, when = FAULTS[name]
  real, save = getattr(owner, method), checkpoint.Checkpointer.save
  saving = []

  def noted(self, state, **options):
    saving.append(options['step'])
    return save(self, state, **options)

  def die(where):
    # Parts of a step are committed too, before the step itself.
    final = getattr(where, 'get_final', lambda: where)()
    whole = method != 'finalize' or getattr(final, 'name', '') == str(step)
    if saving[-1:] == [step] and whole:
      print(f'STRUCK {name}', flush=True)
      os.kill(os.getpid(), signal.SIGKILL)

  def struck(self, *args, **kwargs):
    if when == 'before':
      die(self)
    result = real(self, *args, **kwargs)
    if when == 'after':
      return _then(result, lambda: die(self))
    return result

  checkpoint.Checkpointer.save = noted
  setattr(owner, method, struck)


def _then(result, act):
  """Acts after a call, also one that is awaited."""
  if not hasattr(result, '__await__'):
    act()
    return result

  async def awaited():
    value = await result
    act()
    return value

  return awaited()


def main() -> None:
  flags.FLAGS.mark_as_parsed()  # grain's workers read absl flags
  words = sys.argv[1:]
  try:
    with hosts.joined(hosts.place(os.environ), wait=15, heartbeat=10):
      for workdir, knobs in zip(words[::2], words[1::2], strict=True):
        _run(pathlib.Path(workdir), Toy(**json.loads(knobs)))
  except ValueError as error:
    print(f'error: {error}', file=sys.stderr)
    raise SystemExit(getattr(error, 'exit_code', 2)) from None


def _run(workdir, toy):
  real = time.time
  time.time = lambda: real() + toy.ahead
  print(f'ZONE {time.localtime().tm_gmtoff}', flush=True)
  if toy.fault:
    _strike(toy.fault, step=2 * toy.checkpoint_every)
  if toy.limit:
    # Without the signal a write beyond it fails as on a full disk.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (toy.limit, toy.limit))
  train(workdir, toy)


if __name__ == '__main__':
  main()
