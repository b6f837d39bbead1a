"""How far the losses of one run on different meshes are apart.

  python benchmarks/meshes.py

Trains a Latte of two blocks for 50 steps in float32, on one device and then on
meshes of two, four and eight virtual CPU devices, in one process: the runs of
tests/faults/test_layouts.py.  Prints the largest relative difference of a loss
from that of one device, and of a gradient's norm.  Takes 5 minutes on 2 cores.
"""

import json
import pathlib
import sys
import tempfile

import numpy as np

ROOT = pathlib.Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'tests'), str(ROOT / 'tests' / 'faults')]

import os  # noqa: E402

os.environ.setdefault('FRAMEBRIDGE_COMPILED', tempfile.mkdtemp())

import harm  # noqa: E402
import test_layouts  # noqa: E402


def main() -> None:
  """Runs all meshes and prints the table."""
  harm.TIMEOUT = 1800
  meshes = test_layouts.MESHES | test_layouts.MORE_MESHES
  with tempfile.TemporaryDirectory() as folder:
    home, _ = test_layouts.train_lattes(pathlib.Path(folder), meshes)
    one = _numbers(home / 'one')
    print('| mesh | devices | loss | gradient norm |')
    print('|---|---|---|---|')
    for name, sizes in sorted(
      meshes.items(), key=lambda x: (_devices(x[1]), x[0])
    ):
      loss, norm = np.max(np.abs(_numbers(home / name) / one - 1), axis=0)
      print(f'| {name} | {_devices(sizes)} | {loss:.1e} | {norm:.1e} |')


def _numbers(workdir):
  """Loss and gradient norm of every step."""
  lines = [json.loads(line) for line in harm.log(workdir).splitlines()]
  return np.array([[x['loss'], x['grad_norm']] for x in lines])


def _devices(sizes):
  return int(np.prod(list(sizes.values())))


if __name__ == '__main__':
  main()
