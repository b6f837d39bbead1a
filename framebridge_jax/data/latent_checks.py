"""Whether a cache of latents is what encoding its source gives."""

import numpy as np

from framebridge_jax import files
from framebridge_jax.data import latent_shards, latents


def verify(
  job: latent_shards.Job, make: latent_shards.Make, count: int, seed: int = 0
) -> float:
  """Compares all digests, and some records with what encoding gives now.

  Args:
    job: as when it was written.
    make: the same.
    count: records that are encoded again, drawn at random.
    seed: of the draw.

  Returns:
    The largest difference of an array, of its own largest number.

  Raises:
    latents.LatentsError: a shard has another digest, or a record is none of
      the source's.
  """
  records = latents.Records(job.folder, job.split)
  for shard in records.manifest['shards']:
    found = files.sha256(job.folder / shard['file'])
    if found != shard['sha256']:
      raise latents.LatentsError(
        f'{job.folder / shard["file"]} has the digest {found}, the manifest '
        f'says {shard["sha256"]}; remove it and run --mode=encode again'
      )
  ends = np.cumsum([shard['records'] for shard in records.manifest['shards']])
  rng = np.random.default_rng(seed)
  some = rng.permutation(len(records))[:count].tolist()
  return max(
    (
      _apart(job, make, int(np.searchsorted(ends, i, 'right')), records[i])
      for i in some
    ),
    default=0.0,
  )


def _apart(job, make, shard, record):
  """Of a record of a shard and of what its source gives now."""
  sources = (
    job.records[index]
    for index in latent_shards.range_of(job, shard)
    if latent_shards.name_of(job.records[index], index) == record['name']
  )
  source = next(sources, None)
  start, length = record['start'], len(record['video'])
  if source is None or start + length > len(source['video']):
    raise latents.LatentsError(
      f'{record["name"]} from frame {start} on is not in the source any more'
    )
  frames = source['video'].read(range(start, start + length), job.size)
  made = make(frames, record['caption'])
  held = {'mean': record['video'].mean, 'logvar': record['video'].logvar}
  held |= {'text': record.get('text')}
  return max(_far(made[name], x) for name, x in held.items() if x is not None)


def _far(want, got):
  """Largest difference, of the largest number that is wanted."""
  want, got = want.astype(np.float32), got.astype(np.float32)
  return float(np.abs(got - want).max() / np.abs(want).max())
