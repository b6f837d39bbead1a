"""The measures that a config's metrics need, with its weight files."""

from collections.abc import Sequence

import ml_collections
from etils import epath

from framebridge_jax import build
from framebridge_jax.evaluation import fvd, measures, metrics, phys, pixels
from framebridge_jax.evaluation.adapters import (
  c3d,
  clipsim,
  dreamsim,
  extras,
  lpips,
  videomae,
)


def make(
  config: ml_collections.ConfigDict, names: Sequence[str]
) -> dict[str, measures.Measure]:
  """Measures by their names, for the metrics of these names.

  Raises:
    ValueError: a metric is unknown, or a library or weights are missing; all
      of these are reported together.
  """
  unknown = [name for name in names if name not in metrics.METRICS]
  if unknown:
    raise ValueError(
      f'unknown metric {", ".join(unknown)}; known: '
      f'{", ".join(metrics.METRICS)}'
    )
  wanted = {metrics.METRICS[name].measure for name in names}
  made, problems = {}, []
  for name in sorted(wanted):
    try:
      made[name] = MEASURES[name](config.networks)
    except ValueError as error:
      problems.append(str(error))
  if problems:
    raise ValueError(
      f'{"; ".join(problems)}; or leave these out with --config.metrics'
    )
  return made


def _i3d(networks):
  path = _file(
    networks,
    'i3d',
    'fvd',
    'I3D; port it with --mode=port --config.model=i3d_kinetics400',
  )
  return fvd.make(path)


def _motion_reader(networks):
  name = networks.motion_reader
  return phys.make(epath.Path(name) if name else SHIPPED_READER)


def _clip(networks):
  return clipsim.make(
    *(
      _file(networks, key, 'clipsim', what)
      for key, what in (
        ('clip_image', 'the image tower of CLIP ViT-B/32, ported'),
        ('clip_text', 'its text tower, ported'),
        ('clip_tokenizer', "its tokenizer's files"),
      )
    )
  )


def _file(networks, key, score, what):
  return extras.file(networks[key], score, f'networks.{key}', what)


def _on_disk(networks, key, score, what):
  return extras.on_disk(_file(networks, key, score, what), score)


SHIPPED_READER = build.ASSETS / 'motion_reader.safetensors'
MEASURES = {
  'pixels': lambda networks: pixels.alone(),
  'given_image': lambda networks: pixels.against_image(),
  'true_clip': lambda networks: pixels.against_truth(),
  'motion_reader': _motion_reader,
  'i3d': _i3d,
  'clip': _clip,
  'lpips': lambda networks: lpips.make(),
  'dreamsim': lambda networks: dreamsim.make(
    _on_disk(networks, 'dreamsim', 'pic', "the folder of DreamSim's weights")
  ),
  'videomae': lambda networks: videomae.make(
    _on_disk(
      networks, 'videomae', 'cd_fvd', 'vit_g_hybrid_pt_1200e_ssv2_ft.pth'
    )
  ),
  'c3d': lambda networks: c3d.make(
    _on_disk(networks, 'c3d', 'is', 'c3d_ucf101.pt of StyleGAN-V')
  ),
}
