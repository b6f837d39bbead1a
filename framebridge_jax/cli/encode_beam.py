"""Encoding by the workers of an Apache Beam pipeline, which TFDS runs.

The unit of work is a shard of the cache, written by whichever worker gets it as
`--mode=encode` writes it on one machine: to the same bytes, and not at all
where it is there already.  So a runner may try a shard twice, and the command
may be given again after a kill.  What TFDS itself prepares is the list of
shards, a row each; it is not kept.
"""

import json
import shlex
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import ml_collections
import numpy as np
import tensorflow_datasets as tfds
from absl import logging
from apache_beam.options import pipeline_options
from etils import epath

from framebridge_jax import files
from framebridge_jax.cli import encode
from framebridge_jax.data import latent_shards

_LISTS = 'beam-'  # folders that TFDS writes to meanwhile


def open_pipeline(
  config: ml_collections.ConfigDict,
) -> Callable[[epath.Path], None]:
  """Judges the runner; gives what encodes in a workdir all that is missing.

  Workers open data set, weights and workdir by the paths of the config.

  Raises:
    ValueError: The runner or its options are unknown.
  """
  download = tfds.download.DownloadConfig(
    beam_runner=_runner(config.runner),
    beam_options=_options(config.runner_options),
  )

  def run(workdir: epath.Path) -> None:
    for left in workdir.iterdir():  # by kills
      if left.name.startswith(_LISTS):
        left.rmtree()
    place = workdir / f'{_LISTS}{uuid.uuid4().hex[:8]}'
    builder = ShardList(
      encoding=config.to_json_best_effort(), workdir=workdir, place=place
    )
    try:
      builder.download_and_prepare(download_config=download)
    finally:
      place.rmtree(missing_ok=True)

  return run


def _runner(name):
  try:
    return beam.runners.create_runner(name)
  except (ValueError, ImportError) as error:
    said = ' '.join(str(error).split())
    raise ValueError(f'runner {name!r} cannot be used: {said}') from None


def _options(text):
  words = shlex.split(text)
  options = pipeline_options.PipelineOptions(words)
  known = options.get_all_options()
  unknown = [
    word
    for word in words
    if word.startswith('--') and word[2:].partition('=')[0] not in known
  ]
  if unknown:
    raise ValueError(
      f'runner_options are {text!r}, of which Beam knows no '
      f'{", ".join(unknown)}'
    )
  return options


class ShardList(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """The shards of a cache, which are encoded as they are listed."""

  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES = {'1.0.0': 'First release.'}

  def __init__(self, *, encoding: str, workdir: epath.Path, place: epath.Path):
    self._encoding = encoding
    self._workdir = workdir
    # ArrayRecords are written to local disks alone.
    suits = 'array_record' if files.is_local(place) else 'parquet'
    super().__init__(data_dir=str(place), file_format=suits)

  def _info(self):
    number, text = tfds.features.Scalar(np.int64), tfds.features.Text()
    return tfds.core.DatasetInfo(
      builder=self,
      features=tfds.features.FeaturesDict(
        {'file': text, 'sha256': text} | dict.fromkeys(_COUNTS, number)
      ),
    )

  def _split_generators(self, dl_manager):
    del dl_manager
    config = _config(self._encoding)
    jobs = encode.open_jobs(config, self._workdir)
    return {
      job.split: self._generate_examples(job.split, job.shards) for job in jobs
    }

  def _generate_examples(self, split, shards):
    said = self._encoding, str(self._workdir), split
    steps = beam.Create(range(shards)) | beam.Reshuffle()
    if _config(self._encoding).encoder:
      # Whole batches, since each loads the text encoder; and a shuffle, so
      # that no worker has both encoders at once for long.
      steps |= beam.BatchElements(min_batch_size=16, max_batch_size=256)
      steps |= beam.ParDo(EmbedCaptions(*said)) | beam.Reshuffle()
    return steps | beam.ParDo(EncodeShard(*said))


class _Worker(beam.DoFn):
  """A step on shards of a split; `setup` is done once in each worker."""

  def __init__(self, encoding: str, workdir: str, split: str):
    self._said = encoding, workdir, split

  def setup(self):
    encoding, workdir, split = self._said
    files.connect(workdir)
    self._config = _config(encoding)
    folder = epath.Path(workdir)
    jobs = encode.open_jobs(self._config, folder)
    self._job = next(job for job in jobs if job.split == split)
    self._captions = encode.open_captions(self._config, folder)


class EmbedCaptions(_Worker):
  """Puts the embeddings of shards' captions where encoding finds them."""

  def process(self, shards: Sequence[int]) -> Iterator[int]:
    """Gives the shards again."""
    missing = latent_shards.missing(self._job, shards)
    self._captions.embed(
      caption
      for shard in missing
      for caption in latent_shards.captions_of(self._job, shard)
    )
    yield from shards


class EncodeShard(_Worker):
  """Encodes a shard that is not there yet."""

  def setup(self):
    """Loads the autoencoder, too."""
    super().setup()
    self._make = encode.make_piece(self._config, self._captions)

  def process(self, shard: int) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Gives the shard's row in the list."""
    said = latent_shards.said_of(self._job, shard)
    if said is None:
      said = latent_shards.write(self._job, shard, self._make)
      logging.info('Wrote %s: %d records', said['file'], said['records'])
    yield shard, {name: said[name] for name in ('file', 'sha256', *_COUNTS)}


def _config(encoding):
  return ml_collections.ConfigDict(json.loads(encoding))


_COUNTS = ('records', 'frames', 'videos', 'bytes')
