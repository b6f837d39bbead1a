"""Frames to moments, in batches of one shape, and captions to embeddings."""

from collections.abc import Callable, Iterable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from framebridge_jax.data import codec, text, text_encoders
from framebridge_jax.models import vae_kl
from framebridge_jax.porting import encoders


def make_encode(
  encoder: encoders.Encoder,
  *,
  chunk: int,
  tile: int,
  moments: bool,
  dtype: np.dtype,
) -> Callable[[np.ndarray], Mapping[str, np.ndarray]]:
  """Builds `frames [n, s, s, 3] -> {'mean', 'logvar'}`, plain latents.

  All devices of this host share the frames; a clip's numbers depend neither on
  them nor on `chunk`.

  Args:
    encoder: an autoencoder.
    chunk: frames in work at a time on each device.
    tile: as in `vae_kl.encode`.
    moments: whether `logvar` is kept, too.
    dtype: of what is kept.
  """
  mesh = jax.make_mesh(
    (jax.local_device_count(),),
    ('frames',),
    axis_types=(jax.sharding.AxisType.Auto,),
    devices=jax.local_devices(),
  )
  shared, apart = jax.P(), jax.P('frames')
  variables = jax.device_put(encoder.variables, jax.NamedSharding(mesh, shared))

  def work(variables, frames):
    found = vae_kl.encode(
      encoder.network, variables, codec.scaled(frames), chunk=chunk, tile=tile
    )
    return jnp.stack(found)

  run = jax.jit(
    jax.shard_map(
      work, mesh=mesh, in_specs=(shared, apart), out_specs=jax.P(None, 'frames')
    )
  )
  size = chunk * mesh.size

  def encode(frames: np.ndarray) -> Mapping[str, np.ndarray]:
    parts = [frames[i : i + size] for i in range(0, len(frames), size)]
    # The last part repeats its last frame: another shape would be compiled.
    parts[-1] = np.concatenate(
      [parts[-1], np.repeat(parts[-1][-1:], size - len(parts[-1]), axis=0)]
    )
    layout = jax.NamedSharding(mesh, apart)
    found = [run(variables, jax.device_put(part, layout)) for part in parts]
    both = np.concatenate([np.asarray(x) for x in found], axis=1)
    both = both[:, : len(frames)].astype(dtype)
    names = ('mean', 'logvar') if moments else ('mean',)
    return dict(zip(names, both, strict=False))

  return encode


class Captions:
  """Embeddings of captions, by a text encoder that is loaded when it must.

  Attributes:
    encoder: of the captions.
  """

  def __init__(
    self, encoder: text_encoders.Encoder, cache: text.Cache, null: epath.Path
  ):
    """Keeps them in `cache`, and that of the null caption also at `null`."""
    self.encoder = encoder
    self._cache = cache
    self._null = null
    self._entries: dict[str, epath.Path] = {}

  def embed(self, captions: Iterable[str]) -> None:
    """Embeds those that are not yet, and the null caption; then lets go.

    Raises:
      ValueError: The encoder cannot be read.
    """
    missing = {NULL, *captions} - self._entries.keys()
    if missing:
      filled = text.fill(sorted(missing), self.encoder, self._cache)
      self._entries |= filled.entries
    if not self._null.exists():
      self._entries[NULL].copy(self._null, overwrite=True)

  def __call__(self, caption: str) -> dict[str, np.ndarray]:
    """`text [m, d]` and `text_mask [m]`; embeds the caption if need be."""
    self.embed([caption])
    values, mask = text.read(self._entries[caption])
    return {'text': values, 'text_mask': mask}


NULL = ''  # the caption that guidance shows in the place of one
