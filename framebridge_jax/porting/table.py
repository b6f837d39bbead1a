"""The networks whose checkpoints can be ported, and how."""

from typing import Any, NamedTuple

from framebridge_jax.models import bert, clip, i3d, latte, t5, vae_kl
from framebridge_jax.porting import bert as bert_rows
from framebridge_jax.porting import clip_image, clip_text, family
from framebridge_jax.porting import i3d as i3d_rows
from framebridge_jax.porting import latte as latte_rows
from framebridge_jax.porting import t5 as t5_rows
from framebridge_jax.porting import vae_kl as vae_kl_rows


class Port(NamedTuple):
  """A network that can be asked for by name.

  Attributes:
    family: a row of FAMILIES.
    size: options of the network; the rest is read off the checkpoint.
  """

  family: str
  size: dict[str, Any]


def _family(network, rows, judge_config=family.no_config):
  return family.Family(network, rows.look, rows.rows, rows.shapes, judge_config)


FAMILIES = {
  'latte': _family(latte.Latte, latte_rows),
  'vae_kl': _family(
    vae_kl.AutoencoderKL, vae_kl_rows, vae_kl_rows.judge_config
  ),
  't5': _family(t5.T5Encoder, t5_rows, t5_rows.judge_config),
  'clip_text': _family(clip.TextTower, clip_text, clip_text.judge_config),
  'clip_image': _family(clip.ImageTower, clip_image, clip_image.judge_config),
  'bert': _family(bert.Bert, bert_rows, bert_rows.judge_config),
  'i3d': _family(i3d.I3D, i3d_rows),
}

_SIZES = {
  'latte': {
    f'latte_{size}{patch}': {'patch': patch, **numbers}
    for size, numbers in latte.SIZES.items()
    for patch in (2, 4, 8)
  },
  'vae_kl': vae_kl_rows.PORTS,
  't5': t5_rows.PORTS,
  'clip_text': clip_text.PORTS,
  'clip_image': clip_image.PORTS,
  'bert': bert_rows.PORTS,
  'i3d': i3d_rows.PORTS,
}
PORTS = {
  name: Port(kind, size)
  for kind, sizes in _SIZES.items()
  for name, size in sizes.items()
}
