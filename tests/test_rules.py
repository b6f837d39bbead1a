"""Rules: None for a good value, what was wanted for a bad one."""

import math

import pytest

from framebridge_jax import rules


def _row(*, rate=0.5):
  if rate > 1:
    raise ValueError(f'rate is {rate:g}, want at most 1')
  return rate


def _needs(process, *, rate=0.5):
  raise AssertionError('option does not make the row')


TABLE = {'row': _row, 'needs': _needs}
# rule, good values, bad values, a word of what is wanted
CASES = {
  'one_of': (
    rules.one_of({'a': 1, 'b': 2}),
    ['a', 'b'],
    ['c', '', 1, ['a']],
    'one of a, b',
  ),
  'option': (
    rules.option(TABLE),
    ['row', 'row:rate=7', 'needs', 'needs:rate=1'],
    ['col', 3, None, ''],
    'one of row, needs',
  ),
  'option, options': (
    rules.option(TABLE),
    [],
    ['row:rat=1', 'needs:rate=x'],
    'other options (',
  ),
  'made': (rules.made(TABLE), ['row', 'row:rate=1'], ['col', 3], 'one of row'),
  'made, options': (
    rules.made(TABLE),
    [],
    ['row:rate=2', 'row:rate=x', 'row:x'],
    'other options (',
  ),
  'optional': (
    rules.optional(rules.one_of(['a'])),
    ['', 'a'],
    ['b', 0, None],
    'one of a',
  ),
  'integer': (rules.integer(2), [2, 9], [1, 2.0, True, '2'], 'at least 2'),
  'number': (
    rules.number(0, 1),
    [0, 1, 0.5],
    [-0.1, 1.1, math.nan, True, '0'],
    'in [0, 1]',
  ),
  'number, open': (
    rules.number(0),
    [0, 1e9, math.inf],
    [-1, math.nan, None],
    'of at least 0',
  ),
  'text': (rules.text, ['', 'x'], [1, None], 'a text'),
  'regex': (rules.regex, ['', '^prior/'], ['(', 1, None], 'regular expression'),
  'axis': (rules.axis, [-1, 1, 8], [0, -2, 1.0], 'or -1'),
  'even': (rules.even, [2, 32], [0, 3, 2.0], 'even number'),
  'flag': (rules.flag, [True, False], [0, 1, 'True'], 'True or False'),
}


@pytest.mark.parametrize('name', CASES)
def test_good_values_pass_and_bad_ones_hear_what_is_wanted(name):
  rule, good, bad, wanted = CASES[name]
  for value in good:
    assert rule(value) is None
  for value in bad:
    assert wanted in rule(value)


def test_a_row_that_refuses_its_options_says_why():
  assert rules.made(TABLE)('row:rate=2') == (
    'other options (rate is 2, want at most 1)'
  )
