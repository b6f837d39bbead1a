"""Text with options: names, types and what is said about wrong ones."""

import dataclasses
import functools

import pytest

from framebridge_jax import arguments


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
  """Options of every type, and a field that is none."""

  rate: float = 0.5
  count: int = 3
  name: str = 'even'
  sure: bool = False
  fn: object = len


def _function(process, num_steps, *, rho=7.0, path=''):
  return process, num_steps, rho, path


TABLE = {
  'row': Row,
  'function': _function,
  'fixed': functools.partial(Row, rate=0.1),
}


@pytest.mark.parametrize(
  ('text', 'want'),
  [
    (None, {}),
    ('', {}),
    ('rate=2', {'rate': 2.0}),
    ('rate=1e-3,count=-4', {'rate': 1e-3, 'count': -4}),
    ('sure', {'sure': True}),
    ('sure=False', {'sure': False}),
    ('sure=true,', {'sure': True}),
    ('name=a b', {'name': 'a b'}),
    ('name=a=b', {'name': 'a=b'}),
    ('name=', {'name': ''}),
  ],
)
def test_values_take_the_types_of_their_defaults(text, want):
  defaults = {'rate': 0.5, 'count': 3, 'name': 'even', 'sure': False}
  got = arguments.parse_arg(text, **defaults)
  assert got == {**defaults, **want}
  assert {type(got[k]) for k in want} == {type(v) for v in want.values()}


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('rat=2', "'rat' is unknown; known: rate, count, sure"),
    ('rate=fast', 'rate=fast: want float'),
    ('count=1.5', 'count=1.5: want int'),
    ('count', 'count=: want int'),
    ('sure=maybe', 'sure=maybe: want true or false'),
  ],
)
def test_a_wrong_argument_is_named(text, message):
  with pytest.raises(ValueError, match=message):
    arguments.parse_arg(text, rate=0.5, count=3, sure=False)


def test_without_arguments_there_are_none_to_give():
  assert arguments.parse_arg(None) == {}
  with pytest.raises(ValueError, match="'x' is unknown; known: there are none"):
    arguments.parse_arg('x=1')


@pytest.mark.parametrize(
  ('text', 'row', 'options'),
  [
    ('row', Row, {}),
    ('row:', Row, {}),
    ('row:rate=2,sure', Row, {'rate': 2.0, 'sure': True}),
    ('row:rate=0.5', Row, {}),  # a default says nothing
    ('function:rho=5', _function, {'rho': 5.0}),
    ('function:path=a/b.txt', _function, {'path': 'a/b.txt'}),
    ('function:path=C:/times.txt', _function, {'path': 'C:/times.txt'}),
  ],
)
def test_a_row_comes_with_the_options_that_differ(text, row, options):
  assert arguments.parse_row(text, TABLE) == (row, options)


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('line', "'line' is unknown; known: row, function, fixed"),
    ('', "'' is unknown"),
    ('row:fn=1', "row: argument 'fn' is unknown; known: rate, count, name"),
    ('row:rate=x', 'row: argument rate=x: want float'),
    ('function:process=1', 'function: argument .process. is unknown'),
    ('fixed:rate=1', 'fixed: argument .rate. is unknown; known: count'),
  ],
)
def test_a_row_that_is_wrong_is_named(text, message):
  with pytest.raises(ValueError, match=message):
    arguments.parse_row(text, TABLE)


def test_options_are_keyword_arguments_with_plain_defaults():
  assert arguments.options_of(Row) == {
    'rate': 0.5,
    'count': 3,
    'name': 'even',
    'sure': False,
  }
  assert arguments.options_of(_function) == {'rho': 7.0, 'path': ''}
  assert 'rate' not in arguments.options_of(TABLE['fixed'])
