"""Blind ranking: nothing tells who made what, and ranks are counted right."""

import json
import re

import numpy as np
import pytest

from framebridge_jax.report import rating

METHODS = ('alpha', 'beta', 'gamma')


def _items(count=6, methods=METHODS):
  rng = np.random.default_rng(0)

  def clip():
    return rng.integers(0, 256, (3, 8, 8, 3), np.uint8)

  return [
    rating.Item(
      name=f'clip{i}', given=clip()[0], clips={name: clip() for name in methods}
    )
    for i in range(count)
  ]


def _answer(key, rank_of, rater='r'):
  """Ranks by a function of (item, question, method)."""
  return {
    'rater': rater,
    'ranks': {
      number: {
        question: {
          letter: rank_of(number, question, method)
          for letter, method in item['letters'].items()
        }
        for question in key['questions']
      }
      for number, item in key['items'].items()
    },
  }


def test_the_page_does_not_name_the_methods_and_the_key_does():
  text, key = rating.render(_items(), seed=0)
  assert not [name for name in METHODS if name in text]
  for item in key['items'].values():
    assert sorted(item['letters']) == ['A', 'B', 'C']
    assert sorted(item['letters'].values()) == sorted(METHODS)
  orders = {tuple(item['letters'].values()) for item in key['items'].values()}
  assert len(orders) > 1
  assert json.loads(json.dumps(key)) == key


def test_the_page_asks_for_every_rank():
  text, key = rating.render(_items(2), seed=0)
  asked = re.findall(
    r'data-item="(\d)" data-question="(\w+)" data-letter="(\w)"', text
  )
  assert len(asked) == len(set(asked)) == 2 * len(rating.QUESTIONS) * 3
  assert text.count('<option>3</option>') == len(asked)


def test_letters_stand_for_the_clips_of_their_methods():
  """The picture of letter A is that of the method that the key names."""
  from framebridge_jax.report import players

  items = _items(1)
  text, key = rating.render(items, seed=3)
  shown = re.findall(r"background-image: url\('([^']+)'\)", text)
  want = [players.picture(items[0].given[None])] + [
    players.picture(items[0].clips[method])
    for method in key['items']['0']['letters'].values()
  ]
  assert shown == want


def test_the_average_rank_is_the_mean_over_raters_and_clips():
  _, key = rating.render(_items(4), seed=1)
  order = {'beta': 1, 'gamma': 2, 'alpha': 3}
  always = _answer(key, lambda i, q, m: order[m])
  once = _answer(key, lambda i, q, m: 4 - order[m] if i == '0' else order[m])
  found = rating.rankings(key, [always, once], seed=0)['overall_quality']
  # One of eight rankings is the other way round.
  assert [(x.method, x.mean) for x in found] == [
    ('beta', pytest.approx((7 * 1 + 3) / 8)),
    ('gamma', 2.0),
    ('alpha', pytest.approx((7 * 3 + 1) / 8)),
  ]
  assert found[0].low <= found[0].mean <= found[0].high
  assert found[0].answers == 8


def test_equal_ranks_share_their_mean_place():
  """1, 1, 2 are places 1.5, 1.5, 3, and any other numbers in that order."""
  _, key = rating.render(_items(2), seed=1)
  for values in ((1, 1, 2), (2, 2, 3), (1, 1, 3)):
    ranks = dict(zip(METHODS, values, strict=True))
    answer = _answer(key, lambda i, q, m, ranks=ranks: ranks[m])
    found = rating.rankings(key, [answer], seed=0)['dynamic_degree']
    means = {x.method: x.mean for x in found}
    assert means == {'alpha': 1.5, 'beta': 1.5, 'gamma': 3.0}


def test_missing_ranks_are_named():
  _, key = rating.render(_items(2), seed=1)
  answer = _answer(key, lambda i, q, m: 1, rater='Ada')
  del answer['ranks']['1']['overall_quality']['B']
  with pytest.raises(rating.RatingError, match="'Ada' lack a rank .* clip1"):
    rating.rankings(key, [answer], seed=0)
  with pytest.raises(rating.RatingError, match='no answers'):
    rating.rankings(key, [], seed=0)


def test_methods_must_be_the_same_for_every_clip():
  uneven = [*_items(1), *_items(1, METHODS[:2])]
  for items in (uneven, _items(1, METHODS[:1]), []):
    with pytest.raises(ValueError, match='same two or more methods'):
      rating.render(items, seed=0)
