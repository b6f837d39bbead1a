"""--mode=embed: captions to embeddings on disk, by a ported text encoder."""

import io
import json

import ml_collections
import numpy as np
from absl import logging
from etils import epath

from framebridge_jax import build, check, files
from framebridge_jax.cli import runs
from framebridge_jax.data import text, text_encoders

REPORT = 'text.json'
NULL = ''  # what guidance shows in the place of a caption


def run(config: ml_collections.ConfigDict, workdir: epath.PathLike) -> None:
  """Fills the cache with the captions and the null caption."""
  workdir = epath.Path(workdir)
  check.check_mode(config, 'embed')
  for key, what in _NEEDED.items():
    if not config[key]:
      raise ValueError(f'no {key}; set --config.{key}={what}')
  captions = _captions(config.captions)
  encoder = text_encoders.open_encoder(
    epath.Path(config.encoder),
    epath.Path(config.tokenizer),
    kind=config.kind,
    length=config.length,
    layer=config.layer,
    dtype=build.DTYPES[config.dtype],
  )
  runs.make_workdir(workdir)
  folder = epath.Path(config.cache_dir or workdir / 'text')
  dtype = np.dtype(build.DTYPES[config.cache_dtype])
  cache = text.Cache(folder=folder, dtype=dtype)
  try:
    filled = text.fill(
      [*captions, NULL], encoder, cache, batch_size=config.batch_size
    )
  except OSError as error:
    raise ValueError(
      f'cache_dir {folder} cannot be used: {error.strerror}'
    ) from None
  report = _report(config, encoder, cache, filled, captions)
  with files.replacing(workdir / REPORT) as temporary:
    temporary.write_text(json.dumps(report, indent=1) + '\n', 'utf-8')
  logging.info(
    'Embedded %d captions, %d of them different, and the null caption: %d '
    'computed, %d found, %d cut off at %d tokens; each is %s %s; wrote %s',
    len(captions),
    len(set(captions)),
    filled.computed,
    len(filled.entries) - filled.computed,
    filled.cut,
    encoder.tokenizer.length,
    dtype.name,
    list(encoder.shape),
    workdir / REPORT,
  )


def _captions(said):
  """Lines of a file, or the one caption that was given."""
  path = epath.Path(said)
  if path.suffix.lower() != '.txt':
    if path.suffix and (' ' not in said or path.is_file()):
      raise ValueError(f'captions is {said!r}, want a .txt, or one caption')
    try:
      said.encode()
    except UnicodeEncodeError:
      raise ValueError(f'captions is {said!r}, want UTF-8') from None
    return [said]
  if not path.is_file():
    raise ValueError(f'no captions at {path}')
  try:
    with path.open('rb') as file:
      held = io.TextIOWrapper(file, 'utf-8-sig').read()
    lines = held.removesuffix('\n').split('\n')
  except UnicodeDecodeError as error:
    raise ValueError(
      f'{path} is not UTF-8 at byte {error.start}; save it as UTF-8'
    ) from None
  if not any(line.strip() for line in lines):
    raise ValueError(f'{path} holds no captions')
  return lines


def _report(config, encoder, cache, filled, captions):
  places = {
    caption: str(path.relative_to(cache.folder))
    for caption, path in filled.entries.items()
  }
  return {
    'fingerprint': text.fingerprint(encoder, cache),
    'encoder': config.encoder,
    'family': encoder.family,
    'layer': encoder.layer,
    'dtype': config.dtype,
    'tokenizer': config.tokenizer,
    'kind': encoder.tokenizer.kind,
    'cache_dir': str(cache.folder),
    'cache_dtype': config.cache_dtype,
    'shape': encoder.shape,
    'count': len(captions),
    'cut': filled.cut,
    'null': places[NULL],
    'captions': {caption: places[caption] for caption in captions},
  }


_NEEDED = {
  'encoder': 'weights.safetensors',
  'tokenizer': 'folder',
  'captions': 'captions.txt',
}
