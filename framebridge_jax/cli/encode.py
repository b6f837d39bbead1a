"""--mode=encode: a data set becomes a cache of latents."""

import time

import jax
import ml_collections
import numpy as np
from absl import logging
from etils import epath

from framebridge_jax import build, check, files, version
from framebridge_jax.cli import runs
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
NULL = ''  # the caption that guidance shows in the place of one


def run(config: ml_collections.ConfigDict, workdir: epath.PathLike) -> None:
  """Encodes this host's shards of every split, or verifies all of them.

  Raises:
    ValueError: something cannot be used, or does not verify.
  """
  check.check_mode(config, 'encode')
  host, hosts = _place(config)
  autoencoder = epath.Path(config.autoencoder)
  network = encoders.peek(autoencoder, ('vae_kl',))
  reader = _caption_reader(config)
  folder = workdir
  jobs = _jobs(config, workdir)
  plan = _plan(config, network, reader, jobs)
  if config.verify:
    latent_shards.judge_plan(folder, plan)
  else:
    latent_shards.settle(folder, plan)
  parts = {job.split: range(host, job.shards, hosts) for job in jobs}
  texts = _texts(config, folder, reader, jobs, parts)
  encode = encoding.make_encode(
    encoders.load(autoencoder, ('vae_kl',)),
    chunk=config.chunk,
    tile=config.tile,
    moments=config.keep == 'moments',
    dtype=np.dtype(config.dtype),
  )

  def make(frames, caption):
    return {**encode(frames), **texts(caption)}

  for job in jobs:
    if config.verify:
      _verify(job, make, TOLERANCES[config.dtype])
    else:
      _encode(job, parts[job.split], make)


def _place(config):
  """Which host this is, and of how many."""
  host = jax.process_index() if config.host < 0 else config.host
  hosts = jax.process_count() if config.hosts < 0 else config.hosts
  if not 0 <= host < hosts:
    raise ValueError(
      f'host is {host} of {hosts} hosts, which are numbered from 0; set both, '
      f'or neither'
    )
  return host, hosts


def _caption_reader(config):
  if not config.encoder:
    return None
  return text_encoders.open_encoder(
    epath.Path(config.encoder),
    epath.Path(config.tokenizer),
    kind=config.kind,
    length=config.length,
    layer=config.layer,
  )


def _jobs(config, workdir):
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


def _plan(config, network, reader, jobs):
  """All that the bytes of the cache depend on, but for the videos' pixels."""
  said = ('dataset', 'data_dir', 'keep', 'dtype', 'tile', 'piece', 'per_shard')
  plan = {key: config[key] for key in said}
  plan['data'] = config.data.to_dict()
  plan['videos'] = {job.split: len(job.records) for job in jobs}
  plan['autoencoder'] = files.sha256(config.autoencoder)
  plan |= {
    key: getattr(network, key) for key in ('scale', 'factor', 'channels')
  }
  if reader:
    plan['text'] = {
      'encoder': files.sha256(config.encoder),
      'tokenizer': reader.tokenizer.fingerprint,
      'layer': reader.layer,
      'shape': list(reader.shape),
    }
  return plan


def _texts(config, folder, reader, jobs, parts):
  """Embeds the captions first: the encoder is gone before the frames come."""
  if reader is None:
    return lambda caption: {}
  captions = {NULL}
  for job in jobs:
    for shard in latent_shards.missing(job, parts[job.split]):
      captions |= set(latent_shards.captions_of(job, shard))
  cache = text.Cache(folder=folder / 'text', dtype=np.dtype(config.dtype))
  entries = text.fill(sorted(captions), reader, cache).entries
  entries[NULL].copy(folder / latents.NULL, overwrite=True)

  def texts(caption):
    values, mask = text.read(entries[caption])
    return {'text': values, 'text_mask': mask}

  return texts


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
