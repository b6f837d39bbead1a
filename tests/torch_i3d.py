"""I3D in PyTorch, from the library that the field has it of: cd-fvd.

Written for cd-fvd 0.1.1 and torch 2.13.0.
"""

import importlib.util
import pathlib
import sys

import i3d_kits
import numpy as np
import pytest

from framebridge_jax.models import i3d


def library():
  """The module of its network, without what else the package imports."""
  pytest.importorskip('torch')
  spec = importlib.util.find_spec('cdfvd')
  if spec is None:
    pytest.skip('cd-fvd is not installed')
  file = pathlib.Path(spec.origin).parent / 'third_party/i3d/pytorch_i3d.py'
  name = 'cdfvd_pytorch_i3d'
  if name not in sys.modules:
    spec = importlib.util.spec_from_file_location(name, file)
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])
  return sys.modules[name]


def whole():
  """The network at full size, with TensorFlow's epsilon."""
  return _with_epsilon(library().InceptionI3d(400, in_channels=3))


def small(network: i3d.I3D):
  """The same blocks with fewer channels, in the network's order."""
  lib = library()
  made = lib.InceptionI3d(network.classes, in_channels=3)
  unit = lib.Unit3D
  each = network.shrink
  made.Conv3d_1a_7x7 = unit(3, 64 // each, [7, 7, 7], (2, 2, 2))
  made.Conv3d_2b_1x1 = unit(64 // each, 64 // each)
  made.Conv3d_2c_3x3 = unit(64 // each, 192 // each, [3, 3, 3])
  width = 192 // each
  for name, (own, narrow, wide, pooled) in i3d.BLOCKS.items():
    channels = [x // each for x in (own, *narrow, *wide, pooled)]
    setattr(made, name, lib.InceptionModule(width, channels, name))
    width = channels[0] + channels[2] + channels[4] + channels[5]
  made.logits = unit(
    width,
    network.classes,
    activation_fn=None,
    use_batch_norm=False,
    use_bias=True,
  )
  return _with_epsilon(made)


def load(network, params, ours: i3d.I3D) -> None:
  """Fills it with our parameters."""
  import torch

  state = {
    name: torch.from_numpy(x)
    for name, x in i3d_kits.torch_state(params, ours).items()
  }
  missing = network.load_state_dict(state, strict=False)
  assert not missing.unexpected_keys
  assert all(x.endswith('num_batches_tracked') for x in missing.missing_keys)


def run(network, clips: np.ndarray) -> np.ndarray:
  """Logits of clips [b, f, h, w, c], averaged over time."""
  import torch

  with torch.no_grad():
    x = torch.from_numpy(clips.transpose(0, 4, 1, 2, 3).copy())
    return network(x).numpy()


def save_script(network, path: pathlib.Path) -> pathlib.Path:
  """As TorchScript: a module that holds the network, traced."""
  import torch

  x = torch.zeros(1, 3, i3d.LEAST_FRAMES, i3d.SIDE, i3d.SIDE)
  torch.jit.trace(network, x, check_trace=False).save(str(path))
  return path


def _with_epsilon(network):
  import torch

  for module in network.modules():
    if isinstance(module, torch.nn.BatchNorm3d):
      module.eps = 1e-3
  return network.eval()
