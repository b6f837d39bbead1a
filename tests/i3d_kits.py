"""I3D with numbers of its own, and the same in PyTorch's public form."""

import numpy as np

from framebridge_jax.models import i3d
from framebridge_jax.porting import i3d as rows

SMALL = i3d.I3D(classes=11, shrink=8)


def parameters(network: i3d.I3D, seed: int = 0) -> dict[str, np.ndarray]:
  """By path; activations keep about their size from layer to layer."""
  rng = np.random.default_rng(seed)
  made = {}
  for path, shape in sorted(rows.shapes(network).items()):
    x = rng.normal(size=shape)
    kind = path.rpartition('/')[2]
    if kind == 'kernel':
      x = x * np.sqrt(2 / np.prod(shape[:-1]))
    elif kind == 'variance':
      x = np.exp(x / 4)
    else:
      x = x / 4
    made[path] = x.astype(np.float32)
  return made


def clips(count: int = 2, frames: int = 10, seed: int = 1) -> np.ndarray:
  """Clips in [-1, 1] that are smooth enough to be told apart."""
  rng = np.random.default_rng(seed)
  coarse = rng.uniform(-1, 1, (count, frames, 14, 14, 3))
  return np.kron(coarse, np.ones((1, 1, 16, 16, 1))).astype(np.float32)


def torch_state(
  params: dict[str, np.ndarray], network: i3d.I3D
) -> dict[str, np.ndarray]:
  """The names of `pytorch-i3d`, as `cdfvd` and many others have them."""
  state = {}
  for layer in rows.layers(network):
    block, _, branch = layer.name.partition('/')
    name = f'{block}.{_BRANCHES[branch]}' if branch else _STEM[block]
    one = {x: params[f'{layer.name}/{x}'] for x in _KINDS}
    state[f'{name}.conv3d.weight'] = one['kernel'].transpose(4, 3, 0, 1, 2)
    state[f'{name}.bn.weight'] = np.ones_like(one['bias'])
    state[f'{name}.bn.bias'] = one['bias']
    state[f'{name}.bn.running_mean'] = one['mean']
    state[f'{name}.bn.running_var'] = one['variance']
  last = params['logits/kernel'].T[..., None, None, None]
  state['logits.conv3d.weight'] = last
  state['logits.conv3d.bias'] = params['logits/bias']
  return {name: np.ascontiguousarray(x) for name, x in state.items()}


_KINDS = ('kernel', 'bias', 'mean', 'variance')
_STEM = {
  'Conv3d_1a': 'Conv3d_1a_7x7',
  'Conv3d_2b': 'Conv3d_2b_1x1',
  'Conv3d_2c': 'Conv3d_2c_3x3',
}
_BRANCHES = {
  'own': 'b0',
  'narrow_in': 'b1a',
  'narrow': 'b1b',
  'wide_in': 'b2a',
  'wide': 'b2b',
  'pooled': 'b3b',
}
