"""The features of FD-phys, and what a clip's motion is read as.

The network is the motion reader that the package ships: trained on the train
split of physics_motion alone (configs/motion_reader.py), never on a generated
clip.  Clips of another size are brought to its 32 x 32.
"""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jaxtyping import Array, Float, UInt8

from framebridge_jax.evaluation import devices, measures
from framebridge_jax.models import i3d, motion_reader
from framebridge_jax.porting import weights

_VERSION = 'phys 1'
_EACH = 16

# Digest of the parameters that the package ships.
SHIPPED = '480618b460b9b3914ea9b2c534e70860855c44dcf35d581e9ebddbae18dd0455'


def make(path: epath.PathLike) -> measures.Measure:
  """Measures features and logits of a motion reader.

  Raises:
    ValueError: the weights are missing or those of another network.
  """
  loaded = weights.load(path)
  if loaded.config.get('job') != 'motion_reader':
    raise ValueError(
      f'{path} holds no motion reader; train one with '
      f'configs/motion_reader.py and export it'
    )
  network = motion_reader.MotionReader(
    classes=loaded.config['model']['classes']
  )
  digest = weights.digest(loaded.params)
  run = devices.spread(
    lambda variables, clips: jnp.concatenate(
      network.apply(variables, _pixels(clips)), axis=-1
    ),
    loaded.params,
    each=_EACH,
  )
  classes, size = network.classes, 2 * network.widths[-1]
  return measures.Measure(
    name='motion_reader',
    digest=hashlib.sha256(f'{_VERSION} {digest}'.encode()).hexdigest(),
    columns={
      'logits': slice(0, classes),
      'features': slice(classes, classes + size),
    },
    run=lambda clips: run(np.stack([clip.video for clip in clips])),
    least_frames=i3d.LEAST_FRAMES,
    weights='shipped with the package'
    if digest == SHIPPED
    else f'not the shipped ones (sha256 {digest[:16]})',
  )


def _pixels(clips: UInt8[Array, 'b f h w 3']) -> Float[Array, 'b f s s 3']:
  side = motion_reader.SIDE
  shape = (*clips.shape[:2], side, side, clips.shape[-1])
  small = jax.image.resize(clips.astype(jnp.float32), shape, 'bilinear')
  return small / 127.5 - 1
