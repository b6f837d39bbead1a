"""--mode=port through the command line, on a checkpoint with public names."""

import json
import math

import numpy as np
import pytest
import safetensors.numpy

import commands as cli
from framebridge_jax.models import embeddings

# A Latte of the size latte_tiny4 over 4 frames of 8 x 8 x 3, with 5 classes.
WIDTH, DEPTH, PATCH, FRAMES, GRID, CHANNELS = 128, 6, 4, 4, 2, 3
WORDS = {'model': 'latte_tiny4', 'frames': FRAMES, 'channels': CHANNELS}


def _shapes():
  """Names and shapes as Latte's manifests have them, written out here."""
  d = WIDTH
  dense = {
    't_embedder.mlp.0': (d, 256),
    't_embedder.mlp.2': (d, d),
    'final_layer.linear': (PATCH**2 * CHANNELS, d),
    'final_layer.adaLN_modulation.1': (2 * d, d),
  }
  for i in range(DEPTH):
    dense |= {
      f'blocks.{i}.attn.qkv': (3 * d, d),
      f'blocks.{i}.attn.proj': (d, d),
      f'blocks.{i}.mlp.fc1': (4 * d, d),
      f'blocks.{i}.mlp.fc2': (d, 4 * d),
      f'blocks.{i}.adaLN_modulation.1': (6 * d, d),
    }
  shapes = {
    'x_embedder.proj.weight': (d, CHANNELS, PATCH, PATCH),
    'x_embedder.proj.bias': (d,),
    'y_embedder.embedding_table.weight': (6, d),
  }
  for name, shape in dense.items():
    shapes |= {f'{name}.weight': shape, f'{name}.bias': shape[:1]}
  return shapes


@pytest.fixture(scope='module')
def arrays():
  """Random numbers under these names, and the two fixed tables."""
  rng = np.random.default_rng(0)
  made = {
    name: (0.02 * rng.normal(size=shape)).astype(np.float32)
    for name, shape in _shapes().items()
  }
  side, frames = (np.arange(n, dtype=np.float64) for n in (GRID, FRAMES))
  place = embeddings.grid_table(side, side, WIDTH)
  made['pos_embed'] = place[None].astype(np.float32)
  frame = embeddings.position_table(frames, WIDTH)
  made['temp_embed'] = frame[None].astype(np.float32)
  return made


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory, arrays):
  """The checkpoint as a file."""
  path = tmp_path_factory.mktemp('public') / 'ucf 101.safetensors'
  safetensors.numpy.save_file(arrays, path)
  return path


def test_a_checkpoint_is_ported_and_given_back_to_the_bit(
  tmp_path, checkpoint, arrays
):
  there = tmp_path / 'there'
  done = cli.call('port', there, checkpoint=checkpoint, **WORDS)
  assert done.returncode == 0, done.stderr
  assert {x.name for x in there.iterdir()} == {
    'weights.safetensors',
    'checkpoint',
    'port.json',
  }
  report = json.loads((there / 'port.json').read_text())
  count = sum(math.prod(shape) for shape in _shapes().values())
  assert report['parameters'] == count
  assert len(report['tensors']) == len(arrays)
  assert f'{count:,} parameters' in done.stderr
  assert report['weights_sha256'] in done.stderr

  weights, back = there / 'weights.safetensors', tmp_path / 'back'
  done = cli.call('port', back, checkpoint=weights, back=True)
  assert done.returncode == 0, done.stderr
  assert [x.name for x in back.iterdir()] == ['pytorch.safetensors']
  got = safetensors.numpy.load_file(back / 'pytorch.safetensors')
  assert got.keys() == arrays.keys()
  for name, x in arrays.items():
    assert (got[name].dtype, got[name].shape) == (x.dtype, x.shape), name
    assert got[name].tobytes() == x.tobytes(), name


def _refused(done, workdir, *words):
  """One sentence, exit code 2, and nothing written."""
  assert done.returncode == 2, done.stderr
  said = [x for x in done.stderr.splitlines() if x.startswith('error: ')]
  assert len(said) == 1, done.stderr
  assert 'Traceback' not in done.stderr
  for word in words:
    assert word in said[0]
  assert not workdir.exists()


def test_the_wrong_model_is_refused_with_the_right_one(tmp_path, checkpoint):
  words = {**WORDS, 'model': 'latte_s2'}
  workdir = tmp_path / 'out'
  done = cli.call('port', workdir, checkpoint=checkpoint, **words)
  _refused(done, workdir, "'latte_s2'", 'has the shapes of latte_tiny4')


def test_a_missing_checkpoint_is_refused(tmp_path):
  workdir, missing = tmp_path / 'out', tmp_path / 'none.pt'
  done = cli.call('port', workdir, checkpoint=missing, **WORDS)
  _refused(done, workdir, 'no checkpoint at', 'none.pt')


@pytest.mark.parametrize('back', [False, True])
def test_a_truncated_checkpoint_is_refused(tmp_path, checkpoint, back):
  path, workdir = tmp_path / 'half.safetensors', tmp_path / 'out'
  whole = checkpoint.read_bytes()
  path.write_bytes(whole[: len(whole) // 2])
  done = cli.call('port', workdir, checkpoint=path, back=back, **WORDS)
  _refused(done, workdir, 'half.safetensors')
