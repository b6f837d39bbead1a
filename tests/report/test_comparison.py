"""The page of several methods: tables, pairs, curves, and what is left out."""

import numpy as np
import pytest

from framebridge_jax.report import comparison, score_curves, score_tables
from plots import lines_of


def _score(value, better='lower', **more):
  return {
    'value': value,
    'low': value - 0.5,
    'high': value + 0.5,
    'floor': 0.17,
    'copy': 40.0,
    'better': better,
    'samples': 2000,
    'real': 1999,
    'warnings': [],
    **more,
  }


def _result(**scores):
  return {'scores': scores, 'notes': ['a note'], 'tier': 'T2', 'seed': 7}


def _clip(seed=0, frames=4):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (frames, 8, 8, 3), np.uint8)


def _method(name, *, results=None, rows=(), clips=None, pictures=None):
  return comparison.Method(
    name=name,
    results=results or {},
    rows=rows,
    clips=clips or {},
    pictures=pictures or {},
  )


def _page(*methods, **changes):
  return comparison.Page(
    **{
      'title': 'title',
      'methods': methods,
      'truth': {},
      'titles': {'fd_phys': 'FD-phys'},
      'meanings': {'fd_phys': 'A distance.'},
      'drawings': {},
      'rankings': {},
      'facts': {'Methods': 'x'},
      **changes,
    }
  )


def test_scores_stand_side_by_side_with_floor_copy_and_counts():
  a = _method('a', results={'p': _result(fd_phys=_score(3.25))})
  b = _method('b', results={'p': _result(fd_phys=_score(2.5), other=_score(1))})
  text = comparison.render(_page(a, _with_clip(b)))
  for word in ('FD-phys', '3.25', '2.5', '0.17', '40', '2000 / 1999'):
    assert word in text
  assert '<td class="best">2.5' in text
  assert '<td class="best">3.25' not in text
  assert 'A distance.' in text
  assert 'a note' in text


def _with_clip(method):
  return comparison.Method(**{**vars(method), 'clips': {'x': _clip()}})


@pytest.mark.parametrize(
  ('better', 'best'),
  [('lower', 'a'), ('higher', 'c'), ('one', 'b'), ('real', 'a')],
)
def test_the_best_is_told_by_what_is_better(better, best):
  values = {'a': 0.2, 'b': 0.9, 'c': 2.0}
  found = {name: _score(value, better) for name, value in values.items()}
  assert score_tables.best_of(found) == best
  assert score_tables.best_of({'a': found['a']}) is None


def test_undertrained_methods_are_not_to_be_compared():
  result = {**_result(fd_phys=_score(3.0)), 'undertrained': True}
  method = _with_clip(_method('weak', results={'p': result}))
  assert 'weak is undertrained' in comparison.render(_page(method))


def test_doubts_stand_beside_a_number_and_in_the_notes():
  score = _score(3.0, warnings=['rank-deficient <so>'])
  method = _with_clip(_method('a', results={'p': _result(fd_phys=score)}))
  text = comparison.render(_page(method))
  assert text.count('rank-deficient &lt;so&gt;') == 2


def test_pairs_of_scenes_tell_what_means_cannot():
  """Scenes differ much, methods little and always the same way."""
  rng = np.random.default_rng(0)
  scenes = rng.normal(0, 10, 40)
  mean, low, high = score_tables.paired(list(scenes), list(scenes + 0.5))
  assert mean == pytest.approx(0.5)
  assert low == pytest.approx(0.5) and high == pytest.approx(0.5)
  noisy = score_tables.paired(list(scenes), list(rng.normal(0, 10, 40)))
  assert noisy[1] < 0 < noisy[2]


def test_pairs_are_told_apart_or_not():
  rng = np.random.default_rng(0)
  scenes = rng.normal(0, 10, 40)
  having = {
    'a': _result(recall=_score(1.0, scenes=list(scenes))),
    'b': _result(recall=_score(2.0, scenes=list(scenes + 1))),
    'c': _result(recall=_score(1.0, scenes=list(rng.permutation(scenes)))),
  }
  text = score_tables.pairs('a', having, {})
  assert text.index('b less a') < text.index('>apart<')
  assert text.index('c less a') < text.index('not told apart')
  assert score_tables.pairs('a', {'a': _result(x=_score(1.0))}, {}) == ''


def test_scenes_of_other_numbers_are_not_paired():
  for other in (None, [], [1.0, 2.0]):
    assert score_tables.paired([1.0], other) is None
  mean, _, _ = score_tables.paired([1.0, np.nan], [3.0, 5.0])
  assert mean == 2


def test_clips_that_most_methods_have_come_first():
  methods = [
    _method('a', clips={'x': _clip(), 'y': _clip()}),
    _method('b', clips={'y': _clip(), 'z': _clip()}),
  ]
  rows = comparison.shared_clips(methods, {'z': _clip(5)})
  assert [row.label for row in rows] == ['y', 'x', 'z']
  assert list(rows[2].clips) == ['b', 'truth']
  assert len(comparison.shared_clips(methods, {}, most=1)) == 1


def _row(value, **at):
  return {
    'tier': 'T2',
    'protocol': 'p',
    'score': 'fd_phys',
    'value': value,
    'low': value - 1,
    'high': value + 1,
    **at,
  }


def test_scores_are_drawn_against_what_varies_alone():
  rows = [
    _row(9.0, training_step=100, num_steps=20),
    _row(4.0, training_step=200, num_steps=20),
  ]
  text = comparison.render(_page(_method('a', rows=rows)))
  assert 'Against training steps' in text
  assert 'Against sampling steps' not in text
  assert 'FD-phys (p)' in text


def test_a_curve_joins_what_differs_in_nothing_else():
  rows = [
    _row(9.0, training_step=100, num_steps=20),
    _row(4.0, training_step=200, num_steps=20),
    _row(6.0, training_step=200, num_steps=5),
    _row(3.0, training_step=200, num_steps=20),  # measured again
  ]
  found = score_curves.series('a', rows, x='training_step', held='num_steps')
  assert {k: [p[:2] for p in v] for k, v in found.items()} == {
    'a': [(100, 9.0), (200, 3.0)]
  }
  rows.append(_row(7.0, training_step=100, num_steps=5))
  found = score_curves.series('a', rows, x='num_steps', held='training_step')
  assert {k: sorted(p[:2] for p in v) for k, v in found.items()} == {
    'a, 100 training steps': [(5, 7.0), (20, 9.0)],
    'a, 200 training steps': [(5, 6.0), (20, 3.0)],
  }


def test_other_numbers_of_clips_or_other_real_clips_are_not_compared():
  few = _result(fd_phys=_score(2.5, samples=20))
  many = _result(fd_phys=_score(3.25))
  a, b = _method('a', results={'p': few}), _method('b', results={'p': many})
  text = comparison.render(_page(_with_clip(a), b))
  assert '<td>20 / 1999<br>2000 / 1999</td>' in text
  assert 'class="best"' not in text
  apart = {**many, 'clips': {'dataset': 'digits', 'split': 'test'}}
  text = comparison.render(
    _page(_with_clip(a), _method('b', results={'p': apart}))
  )
  assert 'Scores: p<' in text and 'Scores: p, digits, test<' in text
  rows = [
    _row(9.0, training_step=100, samples=20),
    _row(4.0, training_step=200, samples=2000),
  ]
  assert 'Against' not in comparison.render(_page(_method('a', rows=rows)))


def test_a_curve_goes_through_its_points_in_the_order_of_x():
  points = [score_curves.Point(20.0, 4.0), score_curves.Point(10.0, 8.0)]
  svg = score_curves.draw(
    {'a': points, 'b': [score_curves.Point(15.0, 2.0, 1.0, 3.0)]},
    x_name='steps',
    y_name='FVD',
  )
  (a,) = lines_of(svg, 'a')
  (x0, y0), (x1, y1) = a
  assert x0 < x1
  assert y0 < y1  # 8 is drawn above 4
  assert svg.count('<circle') == 3
  assert svg.index('>a<') < svg.index('>b<')
  with pytest.raises(ValueError, match='no points of FVD'):
    score_curves.draw({'a': []}, x_name='steps', y_name='FVD')


def test_a_page_of_nothing_is_refused():
  with pytest.raises(ValueError, match='no method has clips or scores'):
    comparison.render(_page(_method('a')))


def test_pictures_and_drawings_are_shown():
  method = _method(
    'a', clips={'x': _clip()}, pictures={'latents': _clip()[0].repeat(2, 0)}
  )
  page = _page(method, drawings={'Alignment': ('Words.', '<svg id="s"></svg>')})
  text = comparison.render(page)
  assert 'a: latents' in text
  assert '<svg id="s">' in text and 'Words.' in text
