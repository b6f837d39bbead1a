"""The rule language and its five refusals."""

import hashlib
import re

import ml_dtypes
import numpy as np
import pytest

from framebridge_jax.porting import readers, rules
from framebridge_jax.porting.rules import Fixed, Rule, Split

RNG = np.random.default_rng(0)
FLOAT32 = np.dtype(np.float32)
STATE = {
  'conv.weight': RNG.normal(size=(6, 3, 2, 2)).astype(np.float32),
  'fc.weight': RNG.normal(size=(5, 6)).astype(np.float32),
  'fc.bias': RNG.normal(size=5).astype(np.float32),
  'gain': np.array(1.5, np.float32),
  'table': np.arange(6, dtype=np.float32),
}
TABLE = [
  Rule('conv.weight', 'patches/kernel', rules.patches(2)),
  Rule('fc.weight', 'fc/kernel', rules.linear),
  Rule('fc.bias', 'fc/bias', rules.vector),
  Rule('gain', 'gain', rules.vector),
  Fixed('table', np.arange(6, dtype=np.float32)),
]
SHAPES = {
  'patches/kernel': (12, 6),
  'fc/kernel': (6, 5),
  'fc/bias': (5,),
  'gain': (),
}


def _reader(state, reads=None):
  """A reader of arrays in memory, that notes what is read."""

  def read(name):
    if reads is not None:
      reads.append(name)
    return state[name]

  specs = {n: readers.Spec(x.shape, x.dtype) for n, x in state.items()}
  return readers.Reader(specs, read)


def _port(state, table=TABLE, shapes=SHAPES, dtype=FLOAT32):
  return rules.port(_reader(state), table, shapes, dtype)


def test_numbers_land_where_the_rearrangement_says():
  params = _port(STATE).params
  np.testing.assert_array_equal(params['fc/kernel'], STATE['fc.weight'].T)
  kernel, conv = params['patches/kernel'], STATE['conv.weight']
  for p in range(2):
    for q in range(2):
      for c in range(3):
        np.testing.assert_array_equal(
          kernel[(2 * p + q) * 3 + c], conv[:, c, p, q]
        )
  assert all(params[n].shape == s for n, s in SHAPES.items())
  assert all(x.flags.c_contiguous for x in params.values())


def test_the_table_read_backwards_gives_every_byte_back():
  ported = _port(STATE)
  back = rules.export(ported.params, ported.kept, TABLE)
  assert list(back) == [rule.source for rule in TABLE]
  for name, x in back.items():
    assert x.dtype == STATE[name].dtype
    assert x.shape == STATE[name].shape
    assert x.tobytes() == STATE[name].tobytes()


def test_without_what_was_kept_the_computed_table_goes_back():
  ported = _port(STATE)
  back = rules.export(ported.params, {}, TABLE)
  np.testing.assert_array_equal(back['table'], STATE['table'])


def test_a_report_has_a_line_for_every_source_with_its_digest():
  lines = _port(STATE).lines
  assert [line.source for line in lines] == [rule.source for rule in TABLE]
  for line in lines:
    raw = STATE[line.source].tobytes()
    assert line.sha256 == hashlib.sha256(raw).hexdigest()
    assert line.source_shape == STATE[line.source].shape
    assert line.dtype == 'float32'
  assert lines[0].target_shape == (12, 6)
  assert lines[-1].target == '(computed)'


def test_weights_that_the_table_does_not_name_are_not_left_out_in_silence():
  """A config may say less, or more, than the weights beside it hold."""
  params, kept = (_port(STATE)._asdict()[x] for x in ('params', 'kept'))
  with pytest.raises(rules.PortError, match='labels of the weights has no nam'):
    rules.export({**params, 'labels': np.zeros(3)}, kept, TABLE)
  del params['fc/bias']
  with pytest.raises(rules.PortError, match='fc/bias is missing in the weigh'):
    rules.export(params, kept, TABLE)


@pytest.mark.parametrize('name', ['float16', 'bfloat16'])
def test_a_table_in_half_precision_may_differ_by_its_rounding(name):
  """Sines in bfloat16 are up to 0.002 off; frames in a wrong order are more."""
  dtype = np.dtype(getattr(ml_dtypes, name, name))
  sines = np.sin(np.arange(6, dtype=np.float32))
  rule = [Rule('x', 'x', rules.vector), Fixed('table', sines)]
  x = np.zeros(2, dtype)
  ported = _port({'x': x, 'table': sines.astype(dtype)}, rule, {'x': (2,)})
  assert ported.kept['table'].dtype == dtype
  for wrong in (sines[::-1], sines + 0.02):
    with pytest.raises(rules.PortError, match='table differs by'):
      _port({'x': x, 'table': wrong.astype(dtype)}, rule, {'x': (2,)})


def test_numbers_are_rounded_to_the_dtype_that_is_asked_for():
  half = {n: x.astype(np.float16) for n, x in STATE.items()}
  ported = _port(half)
  assert {x.dtype for x in ported.params.values()} == {FLOAT32}
  assert {line.dtype for line in ported.lines} == {'float16'}


def _with(**changes):
  """STATE with arrays put in; None takes one out."""
  state = {**STATE, **{k.replace('__', '.'): v for k, v in changes.items()}}
  return {name: x for name, x in state.items() if x is not None}


def _nan(name):
  x = STATE[name].copy()
  x.flat[0] = np.nan
  return x


BROKEN = {
  'missing': (_with(fc__weight=None), r'fc.weight \(5, 6\) is missing'),
  'extra': (
    _with(more=np.zeros((2, 3), np.float32)),
    r'more \(2, 3\) of the checkpoint is no part',
  ),
  'shape': (
    _with(fc__weight=np.zeros((6, 5), np.float32)),
    r'fc.weight of the checkpoint is \(6, 5\), but fc/kernel .* \(5, 6\)',
  ),
  'rank': (
    _with(conv__weight=np.zeros((6, 12), np.float32)),
    r'conv.weight .* \(6, 12\), but patches/kernel .* \(6, 3, 2, 2\)',
  ),
  'table shape': (
    _with(table=np.zeros(5, np.float32)),
    r'table .* \(5,\), but the computed table .* \(6,\)',
  ),
  'table': (
    _with(table=np.arange(6, dtype=np.float32) + 1e-3),
    r'table differs by 0.001 from',
  ),
  'table nan': (_with(table=_nan('table')), 'table differs by nan'),
  'nan': (_with(fc__bias=_nan('fc.bias')), r'fc.bias \(5,\) .* not finite'),
  'inf': (
    _with(gain=np.array(np.inf, np.float32)),
    r'gain \(\) holds numbers that are not finite',
  ),
  'int': (
    _with(fc__bias=np.zeros(5, np.int64)),
    r'fc.bias \(5,\) holds int64, want floating',
  ),
  'bool': (_with(fc__bias=np.zeros(5, bool)), r'fc.bias \(5,\) holds bool'),
  'complex': (
    _with(fc__bias=np.zeros(5, np.complex64)),
    r'fc.bias \(5,\) holds complex64',
  ),
}


@pytest.mark.parametrize('name', BROKEN)
def test_a_checkpoint_that_does_not_fit_is_refused_by_name_and_shape(name):
  state, says = BROKEN[name]
  with pytest.raises(rules.PortError, match=says) as error:
    _port(state)
  assert '\n' not in str(error.value)


@pytest.mark.parametrize(
  ('table', 'shapes', 'says'),
  [
    (
      [*TABLE, Rule('fc.bias', 'gain2', rules.vector)],
      {**SHAPES, 'gain2': (5,)},
      'fc.bias is read by two rules',
    ),
    (TABLE[1:], SHAPES, r'patches/kernel \(12, 6\) of the model is filled by'),
    (
      [*TABLE, Rule('new', 'nowhere', rules.vector)],
      SHAPES,
      'nowhere is none of the model',
    ),
    (
      [*TABLE, Rule('new', 'fc/bias', rules.vector)],
      SHAPES,
      'fc/bias is filled by two rules',
    ),
    (
      TABLE,
      {**SHAPES, 'stem/kernel': (3, 3)},
      r'stem/kernel \(3, 3\) of the model is filled by no rule',
    ),
  ],
)
def test_a_table_that_does_not_fit_is_refused(table, shapes, says):
  with pytest.raises(rules.PortError, match=says):
    _port(STATE, table, shapes)


def test_nothing_is_read_before_all_names_and_shapes_are_judged():
  reads = []
  for state, _ in BROKEN.values():
    if {n: x.shape for n, x in state.items()} != {
      n: x.shape for n, x in STATE.items()
    }:
      with pytest.raises(rules.PortError):
        rules.port(_reader(state, reads), TABLE, SHAPES, FLOAT32)
  assert not reads
  rules.port(_reader(STATE, reads), TABLE, SHAPES, FLOAT32)
  assert sorted(reads) == sorted(STATE)


def test_many_differences_are_counted():
  with pytest.raises(rules.PortError, match=re.escape('(and 4 more)')):
    _port({})


STACK = {'stack': RNG.normal(size=(6, 4)).astype(np.float32)}
STACKED = [Split('stack', ('q/kernel', 'k/kernel'), rules.linear)]
APART = {'q/kernel': (4, 3), 'k/kernel': (4, 3)}


def test_a_stacked_source_comes_apart_on_its_first_axis():
  ported = _port(STACK, STACKED, APART)
  stack = STACK['stack']
  np.testing.assert_array_equal(ported.params['q/kernel'], stack[:3].T)
  np.testing.assert_array_equal(ported.params['k/kernel'], stack[3:].T)
  assert [(x.source, x.target) for x in ported.lines] == [
    ('stack', 'q/kernel'),
    ('stack', 'k/kernel'),
  ]
  assert ported.lines[0].source_shape == (6, 4)
  assert ported.lines[0].target_shape == (4, 3)
  assert len({x.sha256 for x in ported.lines}) == 1


def test_a_stacked_source_goes_back_to_the_bit():
  ported = _port(STACK, STACKED, APART)
  back = rules.export(ported.params, {}, STACKED)
  assert back.keys() == {'stack'}
  assert back['stack'].tobytes() == STACK['stack'].tobytes()
  assert rules.source_shapes(STACKED, APART) == {'stack': (6, 4)}


@pytest.mark.parametrize(
  ('state', 'table', 'shapes', 'says'),
  [
    (
      {'stack': STACK['stack'][:5]},
      STACKED,
      APART,
      r'\(5, 4\), but q/kernel, k/kernel of the model wants \(6, 4\)',
    ),
    (STACK, STACKED, {**APART, 'v/kernel': (4, 3)}, 'v/kernel .* by no rule'),
    (STACK, STACKED, {'q/kernel': (4, 3)}, 'k/kernel is none of the model'),
    (
      STACK,
      [*STACKED, Rule('other', 'k/kernel', rules.linear)],
      APART,
      'k/kernel is filled by two rules',
    ),
    (
      STACK,
      [Rule('stack', 'q/kernel', rules.linear), *STACKED],
      APART,
      'stack is read by two rules',
    ),
  ],
)
def test_a_stacked_source_is_refused_as_others_are(state, table, shapes, says):
  with pytest.raises(rules.PortError, match=says):
    _port(state, table, shapes)


def test_a_stacked_source_of_which_a_part_is_gone_cannot_go_back():
  params = {'q/kernel': np.zeros((4, 3), np.float32)}
  with pytest.raises(rules.PortError, match='k/kernel is missing in the'):
    rules.export(params, {}, STACKED)
