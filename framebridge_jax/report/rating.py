"""A page on which people rank clips whose makers they do not know.

The order of methods is drawn anew for each clip, and the page holds nothing
that tells them: the key is a file of its own.  From the answers comes the
average user ranking (AUR; FrameBridge Table 7): the mean rank of a method, 1 is
best.
"""

import dataclasses
import string
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from framebridge_jax.data import clips
from framebridge_jax.report import page, players

QUESTIONS = {
  'dynamic_degree': 'Which moves most? 1 moves most.',
  'overall_quality': 'Which is best, all in all? 1 is best.',
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Item:
  """One first frame and what each method made of it."""

  name: str
  given: clips.Picture
  clips: Mapping[str, np.ndarray]  # uint8 [f, h, w, 3], of any size


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ranking:
  """The average rank of a method, and where 95 of 100 repetitions fall."""

  method: str
  mean: float
  low: float
  high: float
  answers: int


class RatingError(ValueError):
  """Answers that cannot be counted; the message says why."""


def render(items: Sequence[Item], *, seed: int) -> tuple[str, dict[str, Any]]:
  """The page, and the key that tells who made what.

  Args:
    items: two or more methods each, the same ones.
    seed: of the order.

  Raises:
    ValueError: items differ in their methods, or there is none.
  """
  methods = {tuple(sorted(item.clips)) for item in items}
  if len(methods) != 1 or len(next(iter(methods))) < 2:
    raise ValueError(
      f'a rating wants the same two or more methods for every clip, not '
      f'{sorted(methods)}'
    )
  rng = np.random.default_rng(seed)
  sections, key = [], {}
  for number, item in enumerate(items):
    order = rng.permutation(sorted(item.clips)).tolist()
    letters = dict(zip(string.ascii_uppercase, order, strict=False))
    key[str(number)] = {'clip': item.name, 'letters': letters}
    sections.append(_question(number, item, letters))
  text = page.render(
    'Which clip do you like?',
    'Each row shows a still picture and several clips that begin with it. '
    'Give every clip a rank; equal ranks are allowed. At the end, save your '
    'answers as a file.',
    [players.desk(max(len(x) for i in items for x in i.clips.values()))]
    + sections
    + [_END],
    players.SCRIPT + _SCRIPT,
  )
  return text, {'seed': seed, 'questions': QUESTIONS, 'items': key}


def rankings(
  key: Mapping[str, Any], answers: Sequence[Mapping[str, Any]], *, seed: int
) -> dict[str, list[Ranking]]:
  """The average rank of each method by question, best first.

  Equal ranks share their mean place.  The interval is the bootstrap's over
  raters, or over clips where there is one rater.

  Args:
    key: as `render` gave it.
    answers: files of raters: `ranks[item][question][letter]`.
    seed: of the bootstrap.

  Raises:
    RatingError: there are no answers, or they do not fit the key.
  """
  if not answers:
    raise RatingError('no answers to count')
  methods = sorted(next(iter(key['items'].values()))['letters'].values())
  found = {}
  for question in key['questions']:
    # [raters, clips, methods]
    ranks = np.array([_ranks(key, one, question, methods) for one in answers])
    found[question] = _summed(ranks, methods, seed)
  return found


def _ranks(key, answer, question, methods):
  rows = []
  for number, item in key['items'].items():
    try:
      said = answer['ranks'][number][question]
      by_method = {item['letters'][x]: float(rank) for x, rank in said.items()}
      rows.append(_places([by_method[name] for name in methods]))
    except (KeyError, TypeError, ValueError):
      raise RatingError(
        f'the answers of {answer.get("rater") or "a rater"!r} lack a rank of '
        f'question {question} for {item["clip"]}'
      ) from None
  return rows


def _places(values) -> list[float]:
  """Ranks from 1; equal values share the mean of their places."""
  x = np.array(values)
  below = (x[:, None] > x[None]).sum(axis=1)
  equal = (x[:, None] == x[None]).sum(axis=1)
  return (below + (equal + 1) / 2).tolist()


def _summed(ranks, methods, seed) -> list[Ranking]:
  raters, items, _ = ranks.shape
  rows = ranks.mean(axis=1) if raters > 1 else ranks[0]
  rng = np.random.default_rng(seed)
  picks = rng.integers(len(rows), size=(_DRAWS, len(rows)))
  low, high = np.quantile(rows[picks].mean(axis=1), (0.025, 0.975), axis=0)
  made = [
    Ranking(
      method=method,
      mean=float(rows[:, i].mean()),
      low=float(low[i]),
      high=float(high[i]),
      answers=raters * items,
    )
    for i, method in enumerate(methods)
  ]
  return sorted(made, key=lambda ranking: ranking.mean)


def _question(number, item, letters):
  given = np.asarray(item.given)[None]
  row = players.Films(
    label='',
    clips={'given': given, **{x: item.clips[m] for x, m in letters.items()}},
  )
  cells = [players.film(clip, name) for name, clip in row.clips.items()]
  heads = ''.join(f'<h3>{escape(name)}</h3>' for name in row.clips)
  asked = '\n'.join(
    f'<p>{escape(text)} '
    + ' '.join(
      f'<label>{x} <select data-item="{number}" data-question="{name}" '
      f'data-letter="{x}"><option value="">-</option>'
      + ''.join(f'<option>{i + 1}</option>' for i in range(len(letters)))
      + '</select></label>'
      for x in letters
    )
    + '</p>'
    for name, text in QUESTIONS.items()
  )
  return page.section(
    f'Clip {number + 1}',
    f'<div class="films" style="--methods: {len(row.clips)}"><span></span>'
    f'{heads}<span></span>{"".join(cells)}</div>\n{asked}',
  )


_DRAWS = 2000
_END = """\
<section>
<h2>Save</h2>
<p><label>Your name or sign <input id="rater" type="text"></label>
<button type="button" id="save">Save my answers</button>
<output id="said"></output></p>
</section>"""
_SCRIPT = """
(function () {
  const said = document.getElementById('said');
  document.getElementById('save').addEventListener('click', () => {
    const ranks = {};
    let missing = 0;
    for (const one of document.querySelectorAll('select[data-item]')) {
      const {item, question, letter} = one.dataset;
      if (!one.value) { missing += 1; continue; }
      ((ranks[item] ??= {})[question] ??= {})[letter] = Number(one.value);
    }
    if (missing) {
      said.textContent = missing + ' ranks are still missing.';
      return;
    }
    const rater = document.getElementById('rater').value;
    const text = JSON.stringify({rater, ranks}, null, 1);
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob([text], {type: 'text/plain'}));
    link.download = 'answers_' + (rater || 'rater') + '.json';
    link.click();
    said.textContent = 'Saved as ' + link.download + '.';
  });
})();
"""
