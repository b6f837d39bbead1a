"""Tables of scores: methods side by side, and in pairs of scenes."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from framebridge_jax.report import rating

Results = Mapping[str, Mapping[str, Any]]  # of one protocol, by method


def scores(
  having: Results, titles: Mapping[str, str], meanings: Mapping[str, str]
) -> str:
  """A table of one protocol: a row a score, a column a method.

  Args:
    having: results by method.
    titles: what scores are called.
    meanings: what they say.
  """
  names = list(dict.fromkeys(x for r in having.values() for x in r['scores']))
  heads = ['Score', 'Best', *having, 'Floor', 'Copy of frame 1', 'n', 'Meaning']
  lines = []
  for score in names:
    found = {
      name: result['scores'][score]
      for name, result in having.items()
      if score in result['scores']
    }
    any_one = next(iter(found.values()))
    counts = [f'{x["samples"]} / {x.get("real", "-")}' for x in found.values()]
    # A distance is lower where there are more clips.
    best = best_of(found) if len(set(counts)) == 1 else None
    cells = [
      f'<th scope="row">{escape(titles.get(score, score))}</th>',
      f'<td>{_BETTER[any_one["better"]]}</td>',
      *(_value(found.get(name), name == best) for name in having),
      f'<td>{number(any_one.get("floor"))}</td>',
      f'<td>{number(any_one.get("copy"))}</td>',
      f'<td>{"<br>".join(dict.fromkeys(counts))}</td>',
      f'<td class="meaning">{escape(meanings.get(score, ""))}</td>',
    ]
    lines.append(f'<tr>{"".join(cells)}</tr>')
  return _framed(heads, lines)


def pairs(base: str, having: Results, titles: Mapping[str, str]) -> str:
  """Differences from the method `base`, scene by scene; '' without scenes."""
  lines = []
  for name, result in having.items():
    for score, mine in result['scores'].items():
      first = having[base]['scores'].get(score, {})
      found = paired(first.get('scenes'), mine.get('scenes'))
      if name == base or found is None:
        continue
      mean, low, high = found
      apart = 'apart' if low > 0 or high < 0 else 'not told apart'
      lines.append(
        f'<tr><th scope="row">{escape(titles.get(score, score))}</th>'
        f'<td>{escape(name)} less {escape(base)}</td><td>{number(mean)}</td>'
        f'<td>{number(low)} to {number(high)}</td><td>{apart}</td></tr>'
      )
  heads = ['Score', 'Difference', 'Mean', '95 %', 'Result']
  return _framed(heads, lines) if lines else ''


def rankings(found: Mapping[str, Sequence[rating.Ranking]]) -> str:
  """Average user rankings, a table for each question."""
  parts = []
  for question, rows in found.items():
    lines = [
      f'<tr><th scope="row">{escape(row.method)}</th><td>{row.mean:.2f}</td>'
      f'<td>{row.low:.2f} to {row.high:.2f}</td><td>{row.answers}</td></tr>'
      for row in rows
    ]
    name = escape(question.replace('_', ' '))
    parts.append(f'<h3>{name}: average user ranking, 1 is best</h3>')
    parts.append(_framed(['Method', 'Mean rank', '95 %', 'Answers'], lines))
  return '\n'.join(parts)


def best_of(found: Mapping[str, Mapping[str, Any]]) -> str | None:
  """The method whose score is best; None where one alone has it."""
  if len(found) < 2:
    return None
  key = _KEYS[next(iter(found.values()))['better']]
  return min(found, key=lambda name: key(found[name]))


def paired(
  one: Sequence[float] | None, other: Sequence[float] | None, seed: int = 0
) -> tuple[float, float, float] | None:
  """Mean difference of two methods over scenes, and its 95 % interval.

  None where one has no scenes, or others.
  """
  if not one or not other or len(one) != len(other):
    return None
  apart = np.array(other, float) - np.array(one, float)
  apart = apart[np.isfinite(apart)]
  if not len(apart):
    return None
  rng = np.random.default_rng(seed)
  draws = apart[rng.integers(len(apart), size=(2000, len(apart)))].mean(axis=1)
  low, high = np.quantile(draws, (0.025, 0.975))
  return float(apart.mean()), float(low), float(high)


def number(value: float | None) -> str:
  """Four digits; a dash for none."""
  return '-' if value is None else f'{value:.4g}'


def _value(score, best):
  if score is None:
    return '<td>-</td>'
  text = number(score['value'])
  if score.get('low') is not None:
    text += (
      f'<br><span class="aside">{number(score["low"])} to '
      f'{number(score["high"])}</span>'
    )
  if score.get('warnings'):
    said = escape('; '.join(score['warnings']))
    text += f' <span class="aside" title="{said}">(!)</span>'
  return f'<td class="best">{text}</td>' if best else f'<td>{text}</td>'


def _framed(heads, lines):
  head = ''.join(f'<th scope="col">{escape(x)}</th>' for x in heads)
  body = '\n'.join(lines)
  return (
    f'<div class="wide" tabindex="0"><table>\n<thead><tr>{head}</tr></thead>\n'
    f'<tbody>\n{body}\n</tbody>\n</table></div>'
  )


_BETTER = {
  'lower': '&#8595;',
  'higher': '&#8593;',
  'one': '1',
  'real': 'as floor',
}
_KEYS = {
  'lower': lambda score: score['value'],
  'higher': lambda score: -score['value'],
  'one': lambda score: abs(score['value'] - 1),
  'real': lambda score: abs(score['value'] - score.get('floor', 0.0)),
}
