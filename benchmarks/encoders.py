"""Measures the encoders at full size: porting, loading, running, memory.

  python benchmarks/encoders.py --folder=/tmp/encoders
  python benchmarks/encoders.py --folder=/tmp/encoders \
    --models t5_v1_1_xxl --dtype=bfloat16

Writes a checkpoint of random numbers under the public names, ports it through
`--mode=port`, and runs it on one clip's worth of input, each in a process of
its own whose largest resident set is the memory given.  Wants twice the
checkpoint on disk (19 GB for T5-XXL in bfloat16) and 20 GB of memory for it.
"""

import argparse
import json
import math
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

import ml_dtypes
import numpy as np

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

DTYPES = {'float32': np.dtype(np.float32), 'bfloat16': ml_dtypes.bfloat16}
# What a checkpoint's shapes say besides its row of PORTS.
CLIP_TEXT = {'vocab': 49408, 'length': 77}
SAID = {
  'sd_vae_f8': {},
  't5_v1_1_xxl': {},
  'clip_vit_l14_text': {**CLIP_TEXT, 'mlp': 3072},
  'openclip_vit_h14_text': {**CLIP_TEXT, 'mlp': 4096, 'project': 1024},
  'clip_vit_l14_image': {'size': 224, 'mlp': 4096, 'project': 768},
  'openclip_vit_h14_image': {'size': 224, 'mlp': 5120, 'project': 1024},
  'minilm_l6': {'vocab': 30522, 'length': 512, 'types': 2, 'mlp': 1536},
}
LAYOUTS = {
  'vae_kl': 'diffusers',
  't5': 'shared',
  'clip_text': 'open_clip',
  'clip_image': 'open_clip',
  'bert': 'encoder',
}


def main() -> None:
  """Prints one line of JSON for each model and stage."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--folder', type=pathlib.Path, required=True)
  parser.add_argument('--models', nargs='+', choices=SAID, default=list(SAID))
  parser.add_argument('--dtype', choices=DTYPES, default='float32')
  parser.add_argument('--turns', type=int, default=5)
  parser.add_argument('--stage', default='', help='the script calls itself')
  options = parser.parse_args()
  if options.stage:
    found = STAGES[options.stage](options, options.models[0])
    print(json.dumps({'stage': options.stage, **found}))
    return
  for model in options.models:
    for stage in STAGES:
      print(_in_a_process(options, model, stage), flush=True)
    shutil.rmtree(options.folder / model)


def _in_a_process(options, model, stage):
  words = [sys.executable, __file__, f'--folder={options.folder}']
  words += ['--models', model, f'--dtype={options.dtype}']
  words += [f'--turns={options.turns}', f'--stage={stage}']
  done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
  return done.stdout.splitlines()[-1]


def write(options, model: str) -> dict:
  """A checkpoint under public names, tensor by tensor."""
  from framebridge_jax.porting import rules, table

  kind, size = table.PORTS[model]
  family = table.FAMILIES[kind]
  network = family.network(**size, **SAID[model])
  rows = family.rows(network, LAYOUTS[kind])
  shapes = rules.source_shapes(rows, family.shapes(network))
  path = options.folder / model / 'checkpoint.safetensors'
  path.parent.mkdir(parents=True, exist_ok=True)
  write_safetensors(path, shapes, DTYPES[options.dtype])
  return {
    'model': model,
    'tensors': len(shapes),
    'parameters': sum(math.prod(shape) for shape in shapes.values()),
    'gigabytes': round(path.stat().st_size / 1e9, 3),
  }


def write_safetensors(path, shapes, dtype):
  """Random numbers of the size that layers begin with."""
  dtype = np.dtype(dtype)
  header, begin = {}, 0
  for name, shape in shapes.items():
    end = begin + dtype.itemsize * math.prod(shape)
    header[name] = {
      'dtype': {2: 'BF16', 4: 'F32'}[dtype.itemsize],
      'shape': list(shape),
      'data_offsets': [begin, end],
    }
    begin = end
  raw = json.dumps(header).encode()
  raw += b' ' * (-len(raw) % 8)
  some = np.random.default_rng(0).normal(size=1 << 20).astype(np.float32)
  with path.open('wb') as file:
    file.write(len(raw).to_bytes(8, 'little') + raw)
    for shape in shapes.values():
      scale = 1 / math.sqrt(math.prod(shape[1:]) or 1)
      numbers = (scale * some).astype(dtype)
      left = math.prod(shape)
      while left:
        part = numbers[:left]
        file.write(part.tobytes())
        left -= len(part)


def port(options, model: str) -> dict:
  """Through the mode of the command line."""
  from framebridge_jax.cli import port as mode
  from framebridge_jax.recipes import port as recipe

  folder = options.folder / model
  source = folder / 'checkpoint.safetensors'
  config = recipe.get_config()
  config.checkpoint, config.model = str(source), model
  config.export_dtype = options.dtype
  begin = time.perf_counter()
  mode.run(config, folder / 'ported')
  seconds = time.perf_counter() - begin
  size = source.stat().st_size
  source.unlink()
  return {
    'seconds': round(seconds, 1),
    'peak_gigabytes': round(peak_bytes() / 1e9, 2),
    'peak_over_file': round(peak_bytes() / size, 2),
  }


def run(options, model: str) -> dict:
  """Loads the port and calls it, matrix products in float32."""
  import jax

  from framebridge_jax.porting import encoders, table

  kind = table.PORTS[model].family
  path = options.folder / model / 'ported' / 'weights.safetensors'
  before, begin = peak_bytes(), time.perf_counter()
  encoder = encoders.load(path, (kind,))
  loading = time.perf_counter() - begin
  loaded = peak_bytes()
  what, call = CALLS[kind](encoder.network)
  seconds = []
  for _ in range(1 + options.turns):
    begin = time.perf_counter()
    jax.block_until_ready(call(encoder.variables))
    seconds.append(time.perf_counter() - begin)
  return {
    'input': what,
    'load_seconds': round(loading, 2),
    'first_call_seconds': round(seconds[0], 2),
    'call_seconds': round(statistics.median(seconds[1:]), 3),
    'call_seconds_of': [round(x, 3) for x in sorted(seconds[1:])],
    'gigabytes_before': round(before / 1e9, 2),
    'gigabytes_loaded': round(loaded / 1e9, 2),
    'peak_gigabytes': round(peak_bytes() / 1e9, 2),
  }


def _frames(network):
  import jax

  x = np.random.default_rng(0).uniform(-1, 1, (1, 256, 256, 3))
  x = x.astype(np.float32)
  both = jax.jit(network.apply)
  return '1 frame of 256 x 256, there and back', lambda v: both(v, x)


def _captions(network):
  import jax.numpy as jnp

  from framebridge_jax.models import t5

  ids = jnp.asarray(_ids(226, network.vocab))
  return '1 caption of 226 tokens', lambda v: t5.by_block(network, v, ids)


def _texts(network):
  import jax

  ids = _ids(77, network.vocab)
  tower = jax.jit(network.apply)
  return '1 text of 77 tokens', lambda v: tower(v, ids)


def _images(network):
  import jax

  x = np.random.default_rng(0).normal(size=(1, 224, 224, 3)).astype(np.float32)
  tower = jax.jit(network.apply)
  return '1 image of 224 x 224', lambda v: tower(v, x)


def _sentences(network):
  import jax

  ids, mask = _ids(128, network.vocab), np.ones((1, 128), bool)
  tower = jax.jit(network.apply)
  return '1 text of 128 tokens', lambda v: tower(v, ids, mask)


def _ids(count, vocab):
  ids = np.random.default_rng(0).integers(0, vocab, (1, count))
  return ids.astype(np.int32)


def peak_bytes() -> int:
  """Largest resident set of this process so far (Linux)."""
  status = pathlib.Path('/proc/self/status').read_text()
  (line,) = (x for x in status.splitlines() if x.startswith('VmHWM'))
  return int(line.split()[1]) * 1024


STAGES = {'write': write, 'port': port, 'run': run}
CALLS = {
  'vae_kl': _frames,
  't5': _captions,
  'clip_text': _texts,
  'clip_image': _images,
  'bert': _sentences,
}

if __name__ == '__main__':
  main()
