"""--mode=encode: a data set becomes a cache of latents."""

import time

import ml_collections
import numpy as np
from absl import logging
from etils import epath

from framebridge_jax import build, check, files, version
from framebridge_jax.cli import runs, shares
from framebridge_jax.data import (
  encoding,
  latent_checks,
  latent_shards,
  latents,
  text,
  text_encoders,
)
from framebridge_jax.porting import encoders

VERIFIED = 8  # records that are encoded again
# Of a record's largest latent: other devices and chunks round otherwise.
TOLERANCES = {'float16': 2e-3, 'float32': 1e-5}


def run(config: ml_collections.ConfigDict, workdir: epath.PathLike) -> None:
  """Encodes this host's shards of every split, or verifies all of them.

  Raises:
    ValueError: something cannot be used, or does not verify.
  """
  check.check_mode(config, 'encode')
  workdir = epath.Path(workdir)
  host, hosts = shares.of(config)
  pipeline = _pipeline(config)
  network = encoders.peek(config.autoencoder, ('vae_kl',))
  captions = open_captions(config, workdir)
  jobs = open_jobs(config, workdir)
  plan = _plan(config, network, captions, jobs)
  if config.verify:
    latent_shards.judge_plan(workdir, plan)
  else:
    latent_shards.settle(workdir, plan)
  if pipeline and not config.verify:
    pipeline(workdir)
  else:
    _run_here(config, jobs, captions, host, hosts)
  if not config.verify:
    for job in jobs:
      _finish(job)


def _pipeline(config):
  """What encodes on another runner, judged before anything is written."""
  if not config.runner:
    return None
  try:
    from framebridge_jax.cli import encode_beam
  except ImportError as error:
    raise ValueError(
      f'runner is {config.runner!r} and Apache Beam cannot be imported '
      f"({error}); pip install 'framebridge_jax[beam]'"
    ) from None
  return encode_beam.open_pipeline(config)


def _run_here(config, jobs, captions, host, hosts):
  """Encodes the shards of a host, or verifies."""
  parts = {job.split: range(host, job.shards, hosts) for job in jobs}
  if captions and not config.verify:
    # First, so that the text encoder is gone before the frames come.
    captions.embed(
      caption
      for job in jobs
      for shard in latent_shards.missing(job, parts[job.split])
      for caption in latent_shards.captions_of(job, shard)
    )
  make = make_piece(config, captions)
  for job in jobs:
    if config.verify:
      _verify(job, make, TOLERANCES[config.dtype])
    else:
      _encode(job, parts[job.split], make)


def make_piece(
  config: ml_collections.ConfigDict, captions: encoding.Captions | None
) -> latent_shards.Make:
  """Loads the autoencoder; gives what makes a piece's arrays."""
  encode = encoding.make_encode(
    encoders.load(config.autoencoder, ('vae_kl',)),
    chunk=config.chunk,
    tile=config.tile,
    moments=config.keep == 'moments',
    dtype=np.dtype(config.dtype),
  )

  def make(frames, caption):
    return {**encode(frames), **(captions(caption) if captions else {})}

  return make


def open_captions(
  config: ml_collections.ConfigDict, workdir: epath.Path
) -> encoding.Captions | None:
  """What embeds captions, where a text encoder is named.

  Raises:
    ValueError: The encoder and its tokenizer cannot be used.
  """
  if not config.encoder:
    return None
  encoder = text_encoders.open_encoder(
    config.encoder,
    config.tokenizer,
    kind=config.kind,
    length=config.length,
    layer=config.layer,
  )
  cache = text.Cache(folder=workdir / 'text', dtype=np.dtype(config.dtype))
  return encoding.Captions(encoder, cache, workdir / latents.NULL)


def open_jobs(
  config: ml_collections.ConfigDict, workdir: epath.Path
) -> list[latent_shards.Job]:
  """What is to be encoded of each split.

  Raises:
    ValueError: The data set cannot be opened.
  """
  jobs = []
  for split in config.splits:
    source = build.make_source(config, split, workdir)
    jobs.append(
      latent_shards.Job(
        folder=workdir,
        split=split,
        records=source.records,
        class_names=source.class_names,
        size=config.data.size,
        piece=config.piece,
        per_shard=config.per_shard,
      )
    )
  return jobs


def _plan(config, network, captions, jobs):
  """All that the bytes of the cache depend on, but for the videos' pixels."""
  said = ('dataset', 'data_dir', 'keep', 'dtype', 'tile', 'piece', 'per_shard')
  plan = {key: config[key] for key in said}
  plan['data'] = config.data.to_dict()
  plan['videos'] = {job.split: len(job.records) for job in jobs}
  plan['autoencoder'] = files.sha256(config.autoencoder)
  plan |= {
    key: getattr(network, key) for key in ('scale', 'factor', 'channels')
  }
  if captions:
    reader = captions.encoder
    plan['text'] = {
      'encoder': files.sha256(config.encoder),
      'tokenizer': reader.tokenizer.fingerprint,
      'layer': reader.layer,
      'shape': list(reader.shape),
    }
  return plan


def _encode(job, shards, make):
  missing = latent_shards.missing(job, shards)
  logging.info(
    "%s: %d of this host's %d shards are there already",
    job.split,
    len(shards) - len(missing),
    len(shards),
  )
  for shard in missing:
    begin = time.perf_counter()
    said = latent_shards.write(job, shard, make)
    logging.info(
      'Wrote %s: %d records, %d frames of %d videos, %.1f frames/s',
      said['file'],
      said['records'],
      said['frames'],
      said['videos'],
      said['frames'] / (time.perf_counter() - begin),
    )


def _finish(job):
  """The manifest, where all shards are there."""
  facts = {'code': version.__version__, 'device': runs.device_name()}
  manifest = latent_shards.finish(job, facts)
  if manifest is None:
    logging.info('%s: other hosts are still encoding', job.split)
    return
  logging.info(
    '%s is whole: %d shards, %d records, %d frames, %.1f MB; %d videos skipped',
    job.split,
    job.shards,
    manifest['records'],
    manifest['frames'],
    manifest['bytes'] / 1e6,
    len(manifest['skipped']),
  )


def _verify(job, make, tolerance):
  apart = latent_checks.verify(job, make, VERIFIED)
  if apart > tolerance:
    raise latents.LatentsError(
      f'{job.split}: latents differ by {apart:.2g} of the largest from what '
      f'encoding gives now, allowed is {tolerance:.2g}; the videos or the '
      f'program have changed'
    )
  logging.info(
    '%s verified: all digests, and up to %d records encoded again, within %.2g',
    job.split,
    VERIFIED,
    apart,
  )
