"""One page for any number of methods and results.

Scores side by side, clips that play in step, contact sheets, what a bridge does
on its way, and scores against training and sampling steps.
"""

import base64
import dataclasses
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from PIL import Image

from framebridge_jax.report import (
  page,
  players,
  rating,
  score_curves,
  score_tables,
  sheets,
)

Result = Mapping[str, Any]
Clips = Mapping[str, np.ndarray]  # uint8 [f, h, w, 3], each of its own size
Pictures = Mapping[str, np.ndarray]  # uint8 [h, w, 3]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Method:
  """What is known of one method.

  Attributes:
    name: on the page.
    results: by protocol, as evaluation left them.
    rows: of tables of results.
    clips: by their names.
    pictures: captioned stills of the method's own: paths, priors.
  """

  name: str
  results: Mapping[str, Result]
  rows: Sequence[Mapping[str, Any]]
  clips: Clips
  pictures: Pictures


@dataclasses.dataclass(frozen=True, kw_only=True)
class Page:
  """All that the page shows.

  Attributes:
    title: heading.
    methods: compared, in their order; the first is what others are held
      against.
    truth: true clips by name.
    titles: what scores are called.
    meanings: what they say.
    drawings: SVG pictures by heading, with a text each.
    rankings: average user rankings by question.
    facts: what was run.
  """

  title: str
  methods: Sequence[Method]
  truth: Clips
  titles: Mapping[str, str]
  meanings: Mapping[str, str]
  drawings: Mapping[str, tuple[str, str]]
  rankings: Mapping[str, Sequence[rating.Ranking]]
  facts: Mapping[str, str]


def render(report: Page) -> str:
  """The page as text.

  Raises:
    ValueError: there is nothing to show.
  """
  rows = shared_clips(report.methods, report.truth)
  if not rows and not any(method.rows for method in report.methods):
    raise ValueError(
      'no method has clips or scores; give folders that --mode=evaluate wrote, '
      'or folders of videos'
    )
  sections = [
    *_scores(report),
    page.section('Pairs of scenes', _pairs(report)),
    page.section('Clips in step', players.lattice(rows) if rows else ''),
    page.section('Contact sheets', '\n'.join(_sheets(rows))),
    page.section('On the way', '\n'.join(_pictures(report))),
    *_curves(report),
    *(
      page.section(heading, f'{page.paragraph(text)}\n{_wide(svg)}')
      for heading, (text, svg) in report.drawings.items()
    ),
    page.section('Blind ranking', score_tables.rankings(report.rankings)),
    page.section('What was scored', page.facts(report.facts, _notes(report))),
  ]
  summary = f'{len(report.methods)} methods: ' + ', '.join(
    method.name for method in report.methods
  )
  return page.render(report.title, summary, sections, players.SCRIPT)


def shared_clips(
  methods: Sequence[Method], truth: Clips, most: int = 8
) -> list[players.Films]:
  """Rows of the clips that most methods have, their first frame and truth."""
  counts: dict[str, int] = {}
  for method in methods:
    for name in method.clips:
      counts[name] = counts.get(name, 0) + 1
  wanted = sorted(counts, key=lambda name: (-counts[name], name))[:most]
  rows = []
  for name in wanted:
    shown = {
      method.name: method.clips[name]
      for method in methods
      if name in method.clips
    }
    if name in truth:
      shown['truth'] = truth[name]
    rows.append(players.Films(label=name, clips=shown))
  return rows


def _scores(report):
  """For each real side a table, and who may not be compared."""
  for protocol, having in _by_real_side(report).items():
    body = score_tables.scores(having, report.titles, report.meanings)
    for name, result in having.items():
      if result.get('undertrained'):
        body += page.paragraph(
          f'{name} is undertrained: copies of the first frame score as well. '
          f'Nothing is to be concluded from a comparison with it.'
        )
    yield page.section(f'Scores: {escape(protocol)}', body)


def _pairs(report):
  """Of each real side, from the first method that has it."""
  found = [
    score_tables.pairs(next(iter(having)), having, report.titles)
    for having in _by_real_side(report).values()
  ]
  return '\n'.join(text for text in found if text)


def _by_real_side(report):
  """Results by a heading; those of other real clips stand apart."""
  found: dict[str, dict[str, Result]] = {}
  for method in report.methods:
    for protocol, result in method.results.items():
      real = result.get('clips') or {}
      parts = [protocol, *(str(real[x]) for x in _REAL_SIDE if x in real)]
      found.setdefault(', '.join(parts), {})[method.name] = result
  return found


def _sheets(rows):
  for row in rows[:_SHEETS]:
    shapes = {clip.shape[1:] for clip in row.clips.values()}
    shortest = min(len(clip) for clip in row.clips.values())
    if len(shapes) > 1:
      continue  # frames of several sizes make no sheet
    times = np.linspace(0, shortest - 1, min(_TIMES, shortest)).astype(int)
    zoom = max(1, _TILE // next(iter(shapes))[1])
    sheet = sheets.sheet_of_clips(
      [(name, clip[times]) for name, clip in row.clips.items()], zoom=zoom
    )
    yield f'<h3>{escape(row.label)}</h3>\n{_still(sheet, row.label)}'


def _pictures(report):
  for method in report.methods:
    for caption, picture in method.pictures.items():
      text = f'{method.name}: {caption}'
      yield f'<h3>{escape(text)}</h3>\n{_still(picture, text)}'


def _curves(report):
  """Each score against what varies among a method's results."""
  alike = [_alike(row) for method in report.methods for row in method.rows]
  for x, held in _ACROSS.items():
    parts = []
    for wanted in dict.fromkeys(alike):
      series = {}
      for method in report.methods:
        rows = [row for row in method.rows if _alike(row) == wanted]
        series |= score_curves.series(method.name, rows, x=x, held=held)
      if len({p.x for points in series.values() for p in points}) > 1:
        score, *where = wanted
        told = ', '.join(where)
        title = f'{report.titles.get(score, score)} ({told})'
        x_name = score_curves.NAMES[x]
        parts.append(
          _wide(score_curves.draw(series, x_name=x_name, y_name=title))
        )
    yield page.section(f'Against {score_curves.NAMES[x]}', '\n'.join(parts))


def _alike(row):
  """The score of a row and what must be equal for it to be compared."""
  where = [row[x] for x in ('protocol', *_REAL_SIDE) if row.get(x)]
  counts = [f'n {row["samples"]}'] if row.get('samples') else []
  if row.get('real'):
    counts.append(f'against {row["real"]}')
  return (row['score'], *map(str, where), *counts)


def _notes(report):
  """In what a result is not as its protocol says, and who made it."""
  lines = []
  for method in report.methods:
    for protocol, result in method.results.items():
      made = ', '.join(
        f'{key} {result[key]}'
        for key in ('tier', 'version', 'commit', 'date', 'device', 'seed')
        if result.get(key) not in (None, '')
      )
      lines.append(f'{method.name}, {protocol}: {made}')
      lines += [f'  {note}' for note in result.get('notes', ())]
      lines += [
        f'  {score}: {warning}'
        for score, found in result['scores'].items()
        for warning in found.get('warnings', ())
      ]
  return lines


def _still(picture, text):
  buffer = io.BytesIO()
  Image.fromarray(picture).save(buffer, 'PNG', optimize=True)
  data = base64.b64encode(buffer.getvalue()).decode('ascii')
  return (
    f'<div class="sheet" tabindex="0"><img alt="{escape(text)}" '
    f'src="data:image/png;base64,{data}"></div>'
  )


def _wide(svg):
  return f'<div class="sheet" tabindex="0">\n{svg}\n</div>'


_SHEETS = 4
_TIMES = 8  # frames of a contact sheet
_TILE = 96  # its frames' side in pixels, about
_REAL_SIDE = ('dataset', 'split', 'size')
# What scores are drawn against, and what is equal along a curve.
_ACROSS = {
  'training_step': 'num_steps',
  'num_steps': 'training_step',
  'seconds': 'training_step',
}
