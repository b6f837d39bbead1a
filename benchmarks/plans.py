"""What training takes by `--mode=plan`: large models at 256 chips, and recipes.

  python benchmarks/plans.py --topology v5e:16x16 xl2 2b
  python benchmarks/plans.py --devices 256 xl2
  python benchmarks/plans.py --topology v5e:2x2 recipes

`xl2` is `configs/latte.py`, Latte-XL/2, at 256 clips; `2b` is a Latte with the
parameters and tokens of CogVideoX-2B, whose own network is not here: 1.7e9, and
17,797 tokens a clip (CogVideoX: 13 latent frames of 30 x 45).  Both lie 8 along
data and 32 along fsdp, so that a chip has one clip.  `recipes` are those of
configs/ at their own batch, along data.

With a topology the compiler of TPUs is used (`pip install libtpu`); it needs no
TPU.  Reports are printed and kept as JSON, and in the end a table of all that
--out holds is printed.  A case takes one to five minutes on 2 cores.
"""

import argparse
import json
import math
import pathlib
import sys
import time

ROOT = pathlib.Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

from framebridge_jax.cli import configs, plan  # noqa: E402
from framebridge_jax.recipes import plan as plan_recipe  # noqa: E402

RECIPES = (
  'latte.py:size=s',
  'latte.py:size=xl',
  'fvdm.py',
  'framebridge_ucf101.py',
  'neural_prior_ucf101.py',
  'vdt_i2v_ucf101.py',
  'framebridge_saf_latte.py',
)


def main() -> None:
  """Plans the cases that are named."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('cases', nargs='+', choices=('xl2', '2b', 'recipes'))
  parser.add_argument('--topology', default='')
  parser.add_argument('--devices', type=int, default=256)
  parser.add_argument('--out', type=pathlib.Path, required=True)
  options = parser.parse_args()
  for case in options.cases:
    named = RECIPES if case == 'recipes' else ('latte.py:size=xl',)
    for name in named:
      config = configs.load_recipe(str(ROOT / 'configs' / name)).unlock()
      config.update(plan_recipe.get_config())
      config.topology, config.devices = options.topology, options.devices
      if case != 'recipes':
        config.train.batch_size = 256
        config.mesh.update({'data': 8, 'fsdp': 32})
      if case == '2b':
        _enlarge(config)
      print(f'## {case}: {name}, batch {config.train.batch_size}', flush=True)
      start = time.perf_counter()
      try:
        stem = name.removesuffix('.py').replace('.py:size=', '-')
        plan.run(config, options.out / f'{case}_{stem}')
      except Exception as error:  # noqa: BLE001  the compiler says what is short
        print(f'failed: {" ".join(str(error).split())[:600]}')
      print(f'({time.perf_counter() - start:.0f} s)\n', flush=True)

  print(table(options.out))


def table(folder: pathlib.Path) -> str:
  """What a device of each plan in a folder holds and does, as Markdown."""
  lines = [
    '| | mesh | parameters | state, GB | temporary, GB | in all, GB '
    '| operations | sent, GB | expected s on v5e | on h100 '
    '| chips that hold it |',
    '|---' * 11 + '|',
  ]
  for path in sorted(folder.glob(f'*/{plan.FILE}')):
    found = json.loads(path.read_text())
    memory, times = found['memory'], found['times']
    state = sum(memory[x] for x in ('params', 'averages', 'optimizer'))
    axes = ', '.join(f'{k} {n}' for k, n in found['mesh'].items() if n > 1)
    fits = [chip for chip, told in times.items() if told['fits']]
    cells = [
      path.parent.name.removeprefix('recipes_'),
      axes,
      f'{found["parameters"]:,}',
      *(
        f'{x / 1e9:.2f}' for x in (state, memory['temporary'], memory['total'])
      ),
      f'{found["operations"]["model"]:.2e}',
      f'{math.fsum(x["sent"] for x in found["exchanges"]) / 1e9:.2f}',
      *(f'{times[x]["expected"]:.3f}' for x in ('v5e', 'h100')),
      'all' if len(fits) == len(times) else ', '.join(fits) or 'none',
    ]
    lines.append(f'| {" | ".join(cells)} |')
  return '\n'.join(lines)


def _enlarge(config):
  """To the size of CogVideoX-2B, with remat, as its activations want."""
  config.model.update(
    {
      'name': 'latte',
      'patch': 2,
      'width': 1920,
      'depth': 26,
      'heads': 30,
      'remat': 'full',
      'scan': True,
    }
  )
  config.data.update({'size': 592, 'frames': 13})


if __name__ == '__main__':
  main()
