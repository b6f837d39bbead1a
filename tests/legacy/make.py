"""Makes the archive of a release, which later releases must be able to resume.

  python tests/legacy/make.py

trains four steps of a tiny run through the command line, in a folder that is
thrown away, and then takes the fifth.  `VERSION.tar.xz` beside this file gets

- `run/`: the workdir after step 4 (config, record, checkpoint);
- `batch.npz`: the batch of step 5, so that the test hangs neither on the data
  set nor on the order of its clips;
- `expected.json`: step 5's loss, and the hash of its batch.

Make it once a release, at its commit, and never again: an archive that is made
anew tests nothing.  It must stay below 200 kB.
"""

import itertools
import json
import pathlib
import shutil
import sys
import tarfile
import tempfile

import ml_collections
import numpy as np
from absl import flags

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent)]

import commands  # noqa: E402
from framebridge_jax import build, saved, version  # noqa: E402

STEPS = 4
SMALL = {
  'data__frames': 4,
  'model__width': 8,
  'model__stem': 2,
  'optimizer__schedule': 'constant',
  'train__checkpoint_every': STEPS,
  'train__keep': 1,
}


def main() -> None:
  flags.FLAGS.mark_as_parsed()  # grain reads absl flags
  with tempfile.TemporaryDirectory() as folder:
    home = pathlib.Path(folder)
    run, further = home / 'run', home / 'further'
    words = commands.train_words(cache_dir=home / 'data', **SMALL)
    _train(run, words | {'train__num_steps': STEPS})
    shutil.copytree(run, further)
    _train(further, words | {'train__num_steps': STEPS + 1})
    np.savez_compressed(home / 'batch.npz', **_batch(further))
    line = (further / 'metrics.jsonl').read_text().splitlines()[STEPS]
    expected = {k: json.loads(line)[k] for k in ('step', 'loss', 'batch')}
    (home / 'expected.json').write_text(json.dumps(expected) + '\n')
    path = HERE / f'{version.__version__}.tar.xz'
    with tarfile.open(path, 'x:xz', preset=9) as archive:
      for name in (
        'run/config.json',
        'run/metrics.jsonl',
        'run/checkpoints',
        'batch.npz',
        'expected.json',
      ):
        archive.add(home / name, name, filter=_anonymous)
  print(f'{path}: {path.stat().st_size} bytes')


def _train(workdir, words):
  done = commands.call('train', workdir, **words)
  assert done.returncode == 0, done.stderr


def _batch(workdir):
  config = ml_collections.ConfigDict(saved.load_config(workdir))
  source = build.make_source(config, 'train', workdir)
  with build.open_batches(config, source, STEPS) as stream:
    (batch,) = itertools.islice(stream, 1)
  return batch


def _anonymous(member):
  member.uid = member.gid = member.mtime = 0
  member.uname = member.gname = ''
  return member


if __name__ == '__main__':
  main()
