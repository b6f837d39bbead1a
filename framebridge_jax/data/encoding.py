"""Frames to the moments of an autoencoder, in batches of one shape."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from framebridge_jax.data import codec
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
