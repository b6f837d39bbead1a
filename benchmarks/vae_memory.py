"""Measures that memory of encoding a clip is bounded by the chunk.

  python benchmarks/vae_memory.py                      # 10 minutes
  python benchmarks/vae_memory.py --run 1 4            # an hour on 2 cores

For every chunk the program that encodes (and decodes) `--frames` frames at full
size is compiled, and the compiler says how much it holds besides input, output
and weights.  Chunks given with `--run` are encoded as well, in a process of
their own, random weights and random frames; its largest resident set and its
seconds are given.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'benchmarks')]


def main() -> None:
  """Prints one line of JSON for each chunk."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--frames', type=int, default=49)
  parser.add_argument('--size', type=int, default=512)
  parser.add_argument('--chunks', nargs='*', type=int, default=[1, 2, 4, 8, 49])
  parser.add_argument('--tile', type=int, default=0)
  parser.add_argument('--run', nargs='*', type=int, default=[])
  parser.add_argument('--only', type=int, help='the script calls itself')
  options = parser.parse_args()
  if options.only:
    print(json.dumps(run(options, options.only)))
    return
  for chunk in options.chunks:
    print(json.dumps(compiled(options, chunk)), flush=True)
  for chunk in options.run:
    done = subprocess.run(
      [sys.executable, __file__, *sys.argv[1:], f'--only={chunk}'],
      check=True,
      stdout=subprocess.PIPE,
      text=True,
    )
    print(done.stdout.splitlines()[-1], flush=True)


def _ways(options, chunk):
  """Programs by name, and the shapes that they are given."""
  import jax
  import jax.numpy as jnp

  from framebridge_jax.models import vae_kl

  network = vae_kl.AutoencoderKL()
  n, side, small = options.frames, options.size, options.size // network.factor
  frames = jax.ShapeDtypeStruct((n, side, side, 3), jnp.float32)
  latents = jax.ShapeDtypeStruct((n, small, small, 4), jnp.float32)
  how = {'chunk': chunk, 'tile': options.tile}
  encode = jax.jit(lambda v, x: vae_kl.encode(network, v, x, **how).mean)
  decode = jax.jit(lambda v, x: vae_kl.decode(network, v, x, **how))
  variables = jax.eval_shape(
    network.init, jax.random.key(0), jnp.zeros((1, 8, 8, 3))
  )
  return variables, {'encode': (encode, frames), 'decode': (decode, latents)}


def compiled(options, chunk: int) -> dict:
  """What the compiler says of memory."""
  found = {'chunk': chunk}
  variables, ways = _ways(options, chunk)
  for name, (way, shape) in ways.items():
    begin = time.perf_counter()
    analysis = way.lower(variables, shape).compile().memory_analysis()
    found[f'{name}_gigabytes'] = round(analysis.temp_size_in_bytes / 1e9, 2)
    found[f'{name}_compile_seconds'] = round(time.perf_counter() - begin, 1)
  return found


def run(options, chunk: int) -> dict:
  """Encodes once, in this process."""
  import encoders
  import jax
  import jax.numpy as jnp
  import numpy as np

  variables, ways = _ways(options, chunk)
  rng = np.random.default_rng(0)
  variables = jax.tree.map(
    lambda x: jnp.asarray(0.02 * rng.normal(size=x.shape), x.dtype), variables
  )
  encode, shape = ways['encode']
  frames = rng.random(shape.shape, np.float32)
  program = encode.lower(variables, shape).compile()
  before, begin = encoders.peak_bytes(), time.perf_counter()
  jax.block_until_ready(program(variables, frames))
  return {
    'chunk': chunk,
    'encoded_frames': options.frames,
    'seconds': round(time.perf_counter() - begin, 1),
    'gigabytes_before': round(before / 1e9, 2),
    'peak_gigabytes': round(encoders.peak_bytes() / 1e9, 2),
  }


if __name__ == '__main__':
  main()
