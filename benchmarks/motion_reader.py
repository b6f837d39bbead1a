"""Measures the classifier behind FD-phys on scenes that it never saw.

  python benchmarks/motion_reader.py --cache runs/motion_reader/data
  python benchmarks/motion_reader.py --cache ... --write
  python benchmarks/motion_reader.py --cache ... --table results.jsonl

It reads the 4,000 clips of the test split of physics_motion, which training
renders with the rest (configs/motion_reader.py), as they are and frozen at
their first frame.  `--write` puts the accuracy into the weight file, and prints
the digests that framebridge_jax/evaluation/phys.py and docs/evaluation.md name.
Takes a minute.
"""

import argparse
import hashlib
import json
import pathlib
import sys

import numpy as np

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from configs import motion_reader as recipe  # noqa: E402
from framebridge_jax.cli import measuring  # noqa: E402
from framebridge_jax.data import sources  # noqa: E402
from framebridge_jax.evaluation import (  # noqa: E402
  cache,
  measures,
  metrics,
  phys,
  protocols,
  provenance,
  sides,
  tables,
)
from framebridge_jax.porting import readers, weights  # noqa: E402


def main() -> None:
  """Prints accuracies by class, and the whole."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--cache', type=pathlib.Path, required=True)
  parser.add_argument(
    '--weights', type=pathlib.Path, default=measuring.SHIPPED_READER
  )
  parser.add_argument('--write', action='store_true')
  parser.add_argument('--table', type=pathlib.Path)
  options = parser.parse_args()
  one = phys.make(options.weights)
  reader = _reader(options.cache)
  numbers = np.arange(len(reader.source.records))
  found = {}
  for name, clips in (
    ('as they are', reader.clips(numbers)),
    ('frozen at frame 1', reader.copies(numbers)),
  ):
    table = measures.measure(clips, [one], cache=cache.Cache(), batch_size=256)[
      one.name
    ]
    logits, labels = table.column('logits'), np.array(table.labels)
    right = logits.argmax(axis=1) == labels
    found[name] = metrics.accuracy(
      np.concatenate([logits, labels[:, None]], axis=1)
    )
    print(f'{len(right)} clips, {name}: {100 * right.mean():.2f} % right')
    for label, kind in enumerate(reader.source.class_names):
      print(f'  {kind}: {100 * right[labels == label].mean():.1f} %')
  if options.write:
    _write(options.weights, found)
  if options.table:
    rows = [_row(*item, len(numbers), one) for item in found.items()]
    tables.append(options.table, rows)
  print('file', hashlib.sha256(options.weights.read_bytes()).hexdigest())
  print('parameters', weights.digest(weights.load(options.weights).params))


def _row(name, share, count, one):
  here = provenance.here()
  return {
    'tier': 'T2',
    'protocol': 'physics_motion, whole test split',
    'method': f'real clips {name}, read by configs/motion_reader.py',
    'score': 'class_accuracy',
    'value': share,
    'samples': count,
    'weights': one.weights,
    **{key: here[key] for key in ('date', 'version', 'commit')},
  }


def _reader(folder):
  config = recipe.get_config()
  (row,) = sources.parse(config.dataset)
  source = sources.open_source(
    row.name,
    'test',
    data_dir=folder,
    size=config.data.size,
    frames=config.data.frames,
    stride=1,
    options=row.options,
  )
  protocol = protocols.PROTOCOLS['physics_motion']
  return sides.Reader(source=source, protocol=protocol)


def _write(path, found):
  loaded = weights.load(path)
  with readers.open_safetensors(path) as file:
    facts = {
      name: value
      for name, value in file.metadata.items()
      if name not in ('config', 'version')
    }
  facts |= {
    'test_accuracy': json.dumps(found['as they are']),
    'test_accuracy_frozen': json.dumps(found['frozen at frame 1']),
    'test_split': 'physics_motion, 4000 clips of unseen scenes, 32 x 32',
  }
  # Where the data stood is nobody's affair.
  config = {**loaded.config, 'cache_dir': ''}
  weights.save(path, loaded.params, config, dtype=np.float32, facts=facts)


if __name__ == '__main__':
  main()
