"""A run's report as one self-contained HTML file.

Pictures and clips travel inside it as data URIs; a content policy forbids the
page to fetch anything else.  Every text that comes in is escaped.
"""

import base64
import dataclasses
from collections.abc import Mapping, Sequence
from html import escape

from etils import epath

from framebridge_jax.report import curves, page


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figure:
  """One measured number and what it should be.

  `value` and `target` are printed as they come, with their unit; `meaning` is
  one sentence; `passed` is None where nothing was promised.
  """

  name: str
  value: str
  target: str
  meaning: str
  passed: bool | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example:
  """One sample beside the truth: files of a type in MEDIA."""

  label: str
  ours: epath.PathLike
  truth: epath.PathLike


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
  """All that the page shows, from top to bottom.

  Attributes:
    title: Heading and name of the page.
    summary: One or two sentences under the heading.
    facts: What was run, name to text: command, device, duration, version.
    settings: Every setting of the run, as `key = value`.
    figures: The headline figures.
    loss: (step, value) in the order of steps; may be empty.
    sheet: The contact sheet, an image file.
    examples: Animated samples.
    notes: What a reader must know to judge the figures, a paragraph each.
  """

  title: str
  summary: str
  facts: Mapping[str, str]
  settings: Sequence[str]
  figures: Sequence[Figure]
  loss: Sequence[tuple[int, float]]
  sheet: epath.PathLike
  examples: Sequence[Example]
  notes: Sequence[str]


def render(report: Report) -> str:
  """Gives the page as text; reads the files that the report names.

  Raises:
    ValueError: A file is of a type that browsers do not show.
  """
  sections = [
    page.section('Figures', _figures(report.figures)),
    page.section('Samples beside the truth', _examples(report.examples)),
    page.section('Contact sheet', _sheet(report.sheet)),
    page.section('Training', _loss(report.loss)),
    page.section('What was run', page.facts(report.facts, report.settings)),
    page.section('Notes', '\n'.join(map(page.paragraph, report.notes))),
  ]
  return page.render(report.title, report.summary, sections)


def _figures(figures):
  if not figures:
    return ''
  heads = ('Figure', 'Measured', 'Expected', 'Result', 'Meaning')
  head = ''.join(f'<th scope="col">{name}</th>' for name in heads)
  body = '\n'.join(_figure(figure) for figure in figures)
  return (
    f'<table class="figures">\n<thead><tr>{head}</tr></thead>\n'
    f'<tbody>\n{body}\n</tbody>\n</table>'
  )


def _figure(figure):
  kind, word = _RESULTS[figure.passed]
  return (
    f'<tr><th scope="row">{escape(figure.name)}</th>'
    f'<td class="value" data-head="Measured">{escape(figure.value)}</td>'
    f'<td data-head="Expected">{escape(figure.target)}</td>'
    f'<td data-head="Result"><span class="{kind}">{word}</span></td>'
    f'<td class="meaning">{escape(figure.meaning)}</td></tr>'
  )


def _examples(examples):
  cards = '\n'.join(
    f'<div class="example"><h3>{escape(example.label)}</h3><div class="pair">'
    + _captioned(example.ours, 'ours', example.label)
    + _captioned(example.truth, 'truth', example.label)
    + '</div></div>'
    for example in examples
  )
  return f'<div class="examples">\n{cards}\n</div>' if cards else ''


def _sheet(path):
  text = 'The given frame, our frames, and the true frames at the same times.'
  return f'<div class="sheet" tabindex="0">{_media(path, text)}</div>'


def _captioned(path, caption, label):
  media = _media(path, f'{label}, {caption}')
  return f'<figure>{media}<figcaption>{caption}</figcaption></figure>'


def _media(path, text):
  """An image or video element that carries its file's bytes."""
  path = epath.Path(path)
  kind = MEDIA.get(path.suffix.lower())
  if kind is None:
    raise ValueError(
      f'{path} cannot be shown in the report; write one of {", ".join(MEDIA)}'
    )
  data = base64.b64encode(path.read_bytes()).decode('ascii')
  source = f'src="data:{kind};base64,{data}"'
  text = escape(text)
  if kind.startswith('video/'):
    look = 'autoplay loop muted playsinline controls'
    return f'<video {look} aria-label="{text}" {source}></video>'
  return f'<img alt="{text}" {source}>'


def _loss(points):
  if len(points) < 2:
    return page.paragraph('Too few steps were logged to draw a curve.')
  return curves.learning_curve(points, name='training loss')


MEDIA = {
  '.gif': 'image/gif',
  '.png': 'image/png',
  '.jpg': 'image/jpeg',
  '.mp4': 'video/mp4',
  '.webm': 'video/webm',
}

_RESULTS = {
  True: ('passes', 'passes'),
  False: ('fails', 'fails'),
  None: ('open', 'no target'),
}
