"""docs/results.md shows the table of results, whole."""

import pytest

import pages
from framebridge_jax.evaluation import tables

ROWS = tables.read(pages.ROOT / 'benchmarks/results/results.jsonl')
PAGE = (pages.ROOT / 'docs' / 'results.md').read_text()


def test_the_page_is_made_of_the_table():
  begin, end = '<!-- table of benchmarks/results/results.jsonl -->', '<!-- end'
  shown = PAGE.partition(begin)[2].partition(end)[0]
  assert shown.strip() == tables.markdown(ROWS).strip()


@pytest.mark.parametrize('row', ROWS, ids=lambda x: f'{x["tier"]}-{x["score"]}')
def test_what_was_not_run_has_no_number(row):
  assert (row['value'] is None) == (row['tier'] == 'T3')
  assert row['tier'] != '-'  # nothing of other systems is claimed
