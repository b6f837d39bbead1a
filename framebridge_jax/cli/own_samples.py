"""A run's own samples for an evaluation, drawn once and kept as they are.

They stand in the workdir as uint8 arrays, a file a batch, under a digest of all
that decides them.  So a killed evaluation goes on where it stopped, and other
scores of the same samples cost no sampling.  Of several hosts each draws every
so many-th batch with its own devices; any number of them goes on where others
stopped.
"""

import dataclasses
import hashlib
import io
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import ml_collections
import numpy as np
from absl import logging
from etils import epath

from framebridge_jax import build, files
from framebridge_jax.cli import animate
from framebridge_jax.evaluation import measures, sides
from framebridge_jax.porting import readers
from framebridge_jax.training import checkpoint, hosts, manifests


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Sampler:
  """Draws samples of a run.

  Attributes:
    animator: of the run.
    folder: where samples are kept, which all hosts see.
    batch_size: first frames at a time.
    share: which host this is, of how many.
    facts: what decides the samples.
  """

  animator: animate.Animator
  folder: epath.Path
  batch_size: int
  share: tuple[int, int]
  facts: dict[str, Any]

  def clips(
    self,
    read: Callable[[int], sides.Given | None],
    count: int,
    *,
    first_id: int,
    label_of: Callable[[int], int],
  ) -> Iterator[measures.Clip]:
    """A clip for each first frame of this host's batches, in their order.

    Args:
      read: gives first frame i; None where there is none.
      count: of first frames, those of other hosts among them.
      first_id: sample id of the first; noise belongs to the id.
      label_of: from a class of the protocol to one of the model.
    """
    host, total = self.share
    size = self.batch_size
    for start in range(host * size, count, total * size):
      yield from self._batch(start, read, count, first_id, label_of)

  def every_clip(
    self,
    read: Callable[[int], sides.Given | None],
    count: int,
    *,
    first_id: int,
    label_of: Callable[[int], int],
  ) -> Iterator[measures.Clip]:
    """As `clips`, but those of all hosts, once each has drawn its own."""
    for _ in self.clips(read, count, first_id=first_id, label_of=label_of):
      pass
    hosts.wait_for_all('samples')
    for start in range(0, count, self.batch_size):
      yield from self._batch(start, read, count, first_id, label_of)

  def _batch(self, start, read, count, first_id, label_of):
    numbers = range(start, min(start + self.batch_size, count))
    found = [(first_id + i, own) for i in numbers if (own := read(i))]
    if not found:
      return
    ids, part = zip(*found, strict=True)
    for video, own in zip(self._videos(ids, part, label_of), part, strict=True):
      yield measures.Clip(
        name=own.name,
        video=video,
        image=own.image,
        truth=own.truth,
        caption=own.caption,
        label=own.label,
      )

  def _videos(self, ids, part, label_of):
    self.folder.mkdir(parents=True, exist_ok=True)
    path = self.folder / f'{ids[0]:08}_{len(ids)}.npy'
    if path.is_file():
      return np.load(io.BytesIO(path.read_bytes()))
    start = time.perf_counter()
    videos = self.animator(
      np.stack([own.image for own in part])[:, None],
      np.array([label_of(own.label) for own in part]),
      np.array(ids),
    )
    with files.replacing(path) as temporary, temporary.open('wb') as file:
      np.save(file, videos)
    self._note_time(len(ids), time.perf_counter() - start)
    logging.info('Sampled %d to %d', ids[0], ids[-1])
    return videos

  def _note_time(self, count, seconds):
    path = self.folder / _TIMES.format(self.share[0])
    held = path.read_text() if path.is_file() else ''
    line = json.dumps({'clips': count, 'seconds': seconds})
    with files.replacing(path) as part:
      part.write_text(f'{held}{line}\n')

  def seconds(self) -> float | None:
    """Of one sample, median over batches; the first of them also compiled."""
    found = [
      json.loads(line)
      for path in sorted(self.folder.glob(_TIMES.format('*')))
      for line in path.read_text().splitlines()
    ]
    if not found:
      return None
    return float(np.median([x['seconds'] / x['clips'] for x in found]))


def open_sampler(
  config: ml_collections.ConfigDict, workdir: epath.Path, seed: int
) -> Sampler:
  """Loads the run of a checked config.

  Raises:
    ValueError: the workdir holds no run that animates.
  """
  step, digest = _weights(config, workdir)
  own = config.copy_and_resolve_references()
  # A damaged checkpoint is not to be passed over for an older one here.
  own.update({'seed': seed, 'step': 0 if config.weights else step})
  animator = animate.open_animator(own, workdir)
  facts = {
    'weights': digest,
    'training_step': step,
    'run': {key: own[key].to_dict() for key in _SECTIONS if key in own},
    **{key: own[key] for key in _KEYS if key in own},
    'seed': seed,
  }
  text = json.dumps(facts, sort_keys=True, default=str)
  digest = hashlib.sha256(text.encode()).hexdigest()[:16]
  return Sampler(
    animator=animator,
    folder=workdir / 'samples_scored' / digest,
    batch_size=config.batch_size,
    share=(jax.process_index(), jax.process_count()),
    facts={**facts, 'samples': digest},
  )


def _weights(config, workdir) -> tuple[int, str]:
  """The step of the weights that are scored, and a digest of them."""
  if config.weights:
    path = build.weights_path(config.weights)
    with files.at_hand(path) as local, readers.open_safetensors(local) as file:
      return int(file.metadata.get('step', 0)), files.sha256(local)
  with checkpoint.Checkpointer(workdir, read_only=True) as checkpointer:
    step = config.step or checkpointer.latest_step or 0
    return step, manifests.read(checkpointer.place(step))['sha256']


_TIMES = 'seconds.{}.jsonl'  # a file a host
# All of a run and of a sampling that has a say in a clip.
_SECTIONS = ('process', 'denoiser', 'model', 'prior_model')
_KEYS = (
  'codec',
  'prior',
  'hold_given',
  'dtype',
  'sampler',
  'grid',
  'num_steps',
  'start_noise',
  'guidance',
  'guidance_rescale',
  'guidance_start',
  'guidance_stop',
  'guidance_history',
)
