"""Writes the table of docs/results.md from benchmarks/results/results.jsonl.

  python benchmarks/results_table.py

Measuring scripts and `--mode=evaluate` make the rows; a test holds page and
table together.  Takes a second.
"""

import pathlib
import sys

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from framebridge_jax.evaluation import tables  # noqa: E402

_BEGIN, _END = (
  '<!-- table of benchmarks/results/results.jsonl -->',
  '<!-- end of table -->',
)


def main() -> None:
  """Puts the table between its marks."""
  rows = tables.read(ROOT / 'benchmarks/results/results.jsonl')
  page = ROOT / 'docs' / 'results.md'
  before, rest = page.read_text().split(_BEGIN)
  after = rest.split(_END)[1]
  table = tables.markdown(rows)
  page.write_text(f'{before}{_BEGIN}\n\n{table}\n{_END}{after}')
  print(f'{len(rows)} rows')


if __name__ == '__main__':
  main()
