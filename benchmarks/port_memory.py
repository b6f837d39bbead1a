"""Measures the memory of `--mode=port` against the size of the checkpoint.

  python benchmarks/port_memory.py --folder=/tmp/port_memory

Writes a checkpoint with the names and shapes of a Latte and random numbers,
tensor by tensor, as `.safetensors` and as `.pt` (without PyTorch), and ports
each in a process of its own.  What that process holds before it begins
(Python, jax, Orbax) is given apart; wants 4 times the checkpoint on disk.
"""

import argparse
import json
import math
import pathlib
import shutil
import subprocess
import sys
import time

import numpy as np

ROOT = pathlib.Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'tests')]

FRAMES, GRID, CHANNELS, CLASSES = 16, 16, 4, 101


def main() -> None:
  """Prints one line of JSON for each format."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--model', default='latte_xl2')
  parser.add_argument('--folder', type=pathlib.Path, required=True)
  parser.add_argument('--formats', default='safetensors,pt')
  parser.add_argument('--port', default='', help='the script calls itself')
  options = parser.parse_args()
  options.folder.mkdir(parents=True, exist_ok=True)
  if options.port:
    path = options.folder / options.port
    print(json.dumps(port(path, options.model, options.folder / 'out')))
    return
  shapes, tables = contents(options.model)
  for kind in options.formats.split(','):
    path = options.folder / f'checkpoint.{kind}'
    WRITERS[kind](path, shapes, tables)
    done = subprocess.run(
      [
        sys.executable,
        __file__,
        f'--model={options.model}',
        f'--folder={options.folder}',
        f'--port={path.name}',
      ],
      check=True,
      stdout=subprocess.PIPE,
      text=True,
    )
    print(done.stdout.splitlines()[-1], flush=True)
    path.unlink()
    shutil.rmtree(options.folder / 'out')


def port(path: pathlib.Path, model: str, workdir: pathlib.Path) -> dict:
  """Ports in this process; bytes at the peak, before, and of the file."""
  import orbax.checkpoint  # noqa: F401

  from framebridge_jax.cli import port as mode
  from framebridge_jax.recipes import port as recipe

  config = recipe.get_config()
  config.checkpoint, config.model = str(path), model
  before, begin = peak_bytes(), time.perf_counter()
  mode.run(config, workdir)
  size, peak = path.stat().st_size, peak_bytes()
  return {
    'file': path.name,
    'bytes': size,
    'before': before,
    'peak': peak,
    'peak_over_file': round(peak / size, 3),
    'growth_over_file': round((peak - before) / size, 3),
    'seconds': round(time.perf_counter() - begin, 1),
  }


def peak_bytes() -> int:
  """Largest resident set of this process so far (Linux)."""
  status = pathlib.Path('/proc/self/status').read_text()
  (line,) = (x for x in status.splitlines() if x.startswith('VmHWM'))
  return int(line.split()[1]) * 1024


def contents(model: str) -> tuple[dict, dict]:
  """Shapes of the state dict by name, and the tables that must be right."""
  from framebridge_jax.models import latte
  from framebridge_jax.porting import latte as rows
  from framebridge_jax.porting import rules

  network = latte.MODELS[model](classes=CLASSES, learned_variance=True)
  clip = {'frames': FRAMES, 'grid': GRID, 'channels': CHANNELS}
  table = rows.rows(network, 'latte', **clip)
  shapes = rows.shapes(network, **clip)
  fixed = {x.source: x.value for x in table if isinstance(x, rules.Fixed)}
  return rules.source_shapes(table, shapes), fixed


def numbers(shapes, tables):
  """Each tensor's bytes, made when asked for."""
  rng = np.random.default_rng(0)
  for name, shape in shapes.items():
    x = tables.get(name)
    x = rng.random(shape, np.float32) if x is None else x
    yield name, x.tobytes()


def write_safetensors(path: pathlib.Path, shapes: dict, tables: dict) -> None:
  """A header, and one tensor after another."""
  header, begin = {}, 0
  for name, shape in shapes.items():
    end = begin + 4 * math.prod(shape)
    header[name] = {
      'dtype': 'F32',
      'shape': list(shape),
      'data_offsets': [begin, end],
    }
    begin = end
  raw = json.dumps(header).encode()
  raw += b' ' * (-len(raw) % 8)
  with path.open('wb') as file:
    file.write(len(raw).to_bytes(8, 'little') + raw)
    for _, data in numbers(shapes, tables):
      file.write(data)


def write_pt(path: pathlib.Path, shapes: dict, tables: dict) -> None:
  """A bare state dict, as `torch.save` lays it out."""
  import torch_zip

  root = {
    name: torch_zip.dense(str(i), 'float32', tuple(shape))
    for i, (name, shape) in enumerate(shapes.items())
  }
  made = numbers(shapes, tables)
  storages = {tensor.key: lambda: next(made)[1] for tensor in root.values()}
  torch_zip.write(path, root, storages)


WRITERS = {'safetensors': write_safetensors, 'pt': write_pt}

if __name__ == '__main__':
  main()
