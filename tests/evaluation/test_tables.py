"""The table of results, and where its numbers come from."""

import subprocess

import pytest

from framebridge_jax import version
from framebridge_jax.evaluation import provenance, tables

RESULT = {
  'tier': 'T2',
  'protocol': 'physics_motion',
  'method': 'a run',
  'seed': 3,
  'date': '2026-01-02',
  'version': '9',
  'commit': 'abc',
  'clips': {'dataset': 'physics_motion', 'split': 'test', 'stride': 1},
  'scores': {
    'fd_phys': {
      'value': 1.23456,
      'low': 1.0,
      'high': 1.5,
      'floor': 0.17,
      'copy': 40.0,
      'samples': 2000,
      'real': 1999,
      'weights': 'shipped',
    },
    'motion': {'value': 14.0, 'low': None, 'high': None, 'samples': 2000},
  },
}


def test_a_result_becomes_a_row_a_score_and_comes_back(tmp_path):
  path = tmp_path / 'deep' / 'results.jsonl'
  rows = tables.rows_of(RESULT)
  tables.append(path, rows)
  tables.append(path, [{**rows[0], 'tier': 'T3', 'value': None}])
  assert tables.read(path) == [*rows, {**rows[0], 'tier': 'T3', 'value': None}]
  assert [row['score'] for row in rows] == ['fd_phys', 'motion']
  assert {(x['dataset'], x['split']) for x in rows} == {
    ('physics_motion', 'test')
  }


def test_the_markdown_has_a_part_for_each_tier_best_known_first(tmp_path):
  rows = tables.rows_of(RESULT)
  text = tables.markdown([{**rows[0], 'tier': 'T3', 'value': None}, *rows])
  assert text.index('**T2**') < text.index('**T3**')
  assert '**T0**' not in text
  line = next(x for x in text.splitlines() if '| fd_phys | 1.235' in x)
  assert line == (
    '| physics_motion | a run | fd_phys | 1.235 | 1 to 1.5 | 0.17 | 40 | '
    '2000 / 1999 | shipped | 2026-01-02 |'
  )
  assert '| motion | 14 | - | - | - | 2000 / - | - |' in text
  assert '| fd_phys | - |' in text


@pytest.mark.parametrize('line', ['{', '[]', '{"tier": "T9"}', '{}'])
def test_a_line_that_is_no_row_is_named(tmp_path, line):
  path = tmp_path / 'results.jsonl'
  path.write_text(f'{{"tier": "T0"}}\n{line}\n')
  with pytest.raises(ValueError, match='results.jsonl line 2 is no row'):
    tables.read(path)


def test_provenance_names_code_and_machine():
  here = provenance.here()
  assert here['version'] == version.__version__
  assert here['device'].startswith('4 x ')
  assert here['hosts'] == 1


def test_the_commit_is_that_of_the_checkout():
  done = subprocess.run(
    ['git', 'rev-parse', '--short=12', 'HEAD'],
    cwd=provenance.__file__.rpartition('/')[0],
    capture_output=True,
    text=True,
  )
  if done.returncode:
    pytest.skip('no checkout')
  assert done.stdout.strip() in provenance.commit()
