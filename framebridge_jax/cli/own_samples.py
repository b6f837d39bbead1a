"""A run's own samples for an evaluation, drawn once and kept as they are.

They stand in the workdir as uint8 arrays, a file a batch, under a digest of all
that decides them.  So a killed evaluation goes on where it stopped, and other
scores of the same samples cost no sampling.
"""

import dataclasses
import hashlib
import io
import itertools
import json
import time
from collections.abc import Callable, Iterable, Iterator
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
from framebridge_jax.training import checkpoint, manifests


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Sampler:
  """Draws samples of a run.

  Attributes:
    animator: of the run.
    folder: where samples are kept.
    batch_size: first frames at a time.
    facts: what decides the samples.
  """

  animator: animate.Animator
  folder: epath.Path
  batch_size: int
  facts: dict[str, Any]

  def clips(
    self,
    given: Iterable[sides.Given],
    *,
    first_id: int,
    label_of: Callable[[int], int],
  ) -> Iterator[measures.Clip]:
    """A clip for each first frame, in their order.

    Args:
      given: the first frames.
      first_id: sample id of the first; noise belongs to the id.
      label_of: from a class of the protocol to one of the model.
    """
    self.folder.mkdir(parents=True, exist_ok=True)
    numbered = iter(enumerate(given, first_id))
    while batch := list(itertools.islice(numbered, self.batch_size)):
      ids, part = zip(*batch, strict=True)
      videos = self._videos(ids, part, label_of)
      for video, own in zip(videos, part, strict=True):
        yield measures.Clip(
          name=own.name,
          video=video,
          image=own.image,
          truth=own.truth,
          caption=own.caption,
          label=own.label,
        )

  def _videos(self, ids, part, label_of):
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
    path = self.folder / _TIMES
    held = path.read_text() if path.is_file() else ''
    line = json.dumps({'clips': count, 'seconds': seconds})
    with files.replacing(path) as part:
      part.write_text(f'{held}{line}\n')

  def seconds(self) -> float | None:
    """Of one sample, median over batches; the first of them also compiled."""
    path = self.folder / _TIMES
    if not path.is_file():
      return None
    found = map(json.loads, path.read_text().splitlines())
    return float(np.median([x['seconds'] / x['clips'] for x in found]))


def open_sampler(
  config: ml_collections.ConfigDict, workdir: epath.Path, seed: int
) -> Sampler:
  """Loads the run of a checked config.

  Raises:
    ValueError: the workdir holds no run that animates, or there are several
      hosts, which would have to sample together.
  """
  if jax.process_count() > 1:
    raise ValueError(
      f'{jax.process_count()} hosts cannot draw the samples of one evaluation '
      f'yet; draw them with one, then score them with any number'
    )
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


_TIMES = 'seconds.jsonl'
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
