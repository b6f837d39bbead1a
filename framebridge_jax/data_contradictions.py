"""Values of a config about data that are fine alone and refuse each other."""

import math
from collections.abc import Iterator

import ml_collections
from etils import epath

from framebridge_jax import build, files
from framebridge_jax.data import codec, latents, sources


def find(config: ml_collections.ConfigDict) -> Iterator[str]:
  """One sentence for each contradiction of a training config."""
  data, mixed = config.data, len(sources.parse(config.dataset))
  if data.weights and len(data.weights) != mixed:
    yield (
      f'data.weights has {len(data.weights)} numbers and dataset '
      f'{config.dataset!r} {mixed} data sets; give one for each, or ()'
    )
  if data.max_stride and data.max_stride < data.stride:
    yield (
      f'data.max_stride is {data.max_stride}, below data.stride '
      f'({data.stride}); strides are drawn between them'
    )
  names = {row.name for row in sources.parse(config.dataset)}
  cached = names == {'latents'}
  if 'latents' in names and not cached:
    yield (
      f'dataset {config.dataset!r} mixes latents with pixels; encode all of '
      f'them'
    )
  if data.flip and (cached or _codec_name(config) == 'cached'):
    yield (
      'data.flip is True and clips are latents, which are not mirrored as '
      'their pixels are; leave it False'
    )
  if data.draw and not cached:
    yield (
      f'data.draw is True and dataset is {config.dataset!r}; only latents are '
      f'drawn'
    )
  if cached:
    yield from _cache(config)


def text(config: ml_collections.ConfigDict) -> Iterator[str]:
  """Whether the data say what a network is to hear of text."""
  width = config.model.get('text_width')
  if not width:
    return
  if {row.name for row in sources.parse(config.dataset)} != {'latents'}:
    yield (
      f'model.text_width is {width} and dataset is {config.dataset!r}; only '
      f'latents hold embeddings of captions: encode them with '
      f'--config.encoder=...'
    )
    return
  for place in build.data_places(config):
    try:
      plan = latents.read_plan(epath.Path(place.path))
    except ValueError:
      continue  # told elsewhere
    shape = plan.get('text', {}).get('shape', ())
    if width != math.prod(shape, start=bool(shape)):
      held = f'embeddings of shape {shape}' if shape else 'no embeddings'
      yield (
        f'model.text_width is {width}, and {place.path} holds {held} of '
        f'captions; set it to {math.prod(shape) if shape else 0}'
      )


def _codec_name(config):
  return config.codec.partition(':')[0]


def _cache(config) -> Iterator[str]:
  """A cache of latents against the codec."""
  if _codec_name(config) not in ('cached', 'kl'):
    yield (
      f'codec is {config.codec!r} and dataset is latents; want cached, or kl '
      f'with the autoencoder that made them'
    )
    return
  size = config.data.size
  made = build.make_codec(config)
  for place in build.data_places(config):
    folder = epath.Path(place.path)
    try:
      plan = latents.read_plan(folder)
      shape = made.latent_shape(config.data.frames, size)[1:]
    except ValueError as error:
      yield str(error)
      continue
    side = size // plan['factor']
    if shape != (side, side, plan['channels']):
      yield (
        f'codec {config.codec!r} has latents of shape {shape} for data.size '
        f'{size}, {folder} of shape {(side, side, plan["channels"])}'
      )
    if isinstance(made, codec.KL):
      found = files.sha256(made.weights)
      if found != plan['autoencoder']:
        yield (
          f'codec has the autoencoder {made.weights}, which is not the one '
          f'that made {folder}'
        )
