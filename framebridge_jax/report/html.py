"""A run's report as one self-contained HTML file.

Pictures and clips travel inside it as data URIs; a content policy forbids the
page to fetch anything else.  Every text that comes in is escaped.
"""

import base64
import dataclasses
import pathlib
import string
from collections.abc import Mapping, Sequence
from html import escape

from framebridge_jax.report import curves


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
  ours: pathlib.Path
  truth: pathlib.Path


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
  sheet: pathlib.Path
  examples: Sequence[Example]
  notes: Sequence[str]


def render(report: Report) -> str:
  """Gives the page as text; reads the files that the report names.

  Raises:
    ValueError: A file is of a type that browsers do not show.
  """
  sections = [
    _section('Figures', _figures(report.figures)),
    _section('Samples beside the truth', _examples(report.examples)),
    _section('Contact sheet', _sheet(report.sheet)),
    _section('Training', _loss(report.loss)),
    _section('What was run', _run(report.facts, report.settings)),
    _section('Notes', '\n'.join(map(_paragraph, report.notes))),
  ]
  return _PAGE.substitute(
    title=escape(report.title),
    summary=escape(report.summary),
    style=_STYLE,
    sections='\n'.join(sections),
  )


def _section(heading, body):
  """The section, or nothing where it would be empty."""
  return f'<section>\n<h2>{heading}</h2>\n{body}\n</section>' if body else ''


def _paragraph(text):
  return f'<p>{escape(text)}</p>'


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
    return _paragraph('Too few steps were logged to draw a curve.')
  return curves.learning_curve(points, name='training loss')


def _run(facts, settings):
  rows = ''.join(
    f'<dt>{escape(name)}</dt><dd>{escape(text)}</dd>'
    for name, text in facts.items()
  )
  body = f'<dl>{rows}</dl>'
  if settings:
    lines = escape('\n'.join(settings))
    body += f'\n<h3>Settings</h3>\n<pre>{lines}</pre>'
  return body


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

_PAGE = string.Template("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; \
img-src data:; media-src data:; style-src 'unsafe-inline'">
<title>$title</title>
<style>
$style</style>
</head>
<body>
<main>
<header>
<h1>$title</h1>
<p class="summary">$summary</p>
</header>
$sections
</main>
</body>
</html>
""")

_STYLE = """\
:root {
  --paper: #fff; --ink: #1d2129; --soft: #5b6472; --rule: #e2e5ea;
  --shade: #f6f7f9; --accent: #2f6fde; --good: #17703b; --bad: #b3261e;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171c; --ink: #e4e7ec; --soft: #9aa3b0; --rule: #2c323b;
    --shade: #1c2027; --accent: #7aa7f7; --good: #6fcf97; --bad: #ff8a80;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", sans-serif;
}
main { max-width: 62rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { margin: 0; font-size: 1.9rem; line-height: 1.2; }
h2 { margin: 2.75rem 0 1rem; font-size: 1.2rem; }
h3 { margin: 0 0 .4rem; font-size: .95rem; font-weight: 600; }
p { max-width: 44rem; margin: .6rem 0; }
.summary { color: var(--soft); font-size: 1.08rem; }
img, video, svg { display: block; max-width: 100%; height: auto; }
img, video { image-rendering: pixelated; border-radius: 4px; }
table { width: 100%; border-collapse: collapse; }
th, td {
  padding: .6rem .8rem .6rem 0; border-top: 1px solid var(--rule);
  text-align: left; vertical-align: baseline;
}
thead th {
  border: 0; color: var(--soft); font-size: .82rem; font-weight: 500;
}
tbody th { font-weight: 600; }
.figures td:not(.meaning) { white-space: nowrap; }
.value { font-size: 1.15rem; font-variant-numeric: tabular-nums; }
.meaning, figcaption, dt { color: var(--soft); font-size: .9rem; }
.passes { color: var(--good); font-weight: 600; }
.fails { color: var(--bad); font-weight: 600; }
.open { color: var(--soft); }
.examples {
  display: grid; gap: 1.25rem;
  grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr));
}
.example { padding: .9rem; border-radius: 8px; background: var(--shade); }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: .7rem; }
figure { margin: 0; }
figure img, figure video { width: 100%; }
figcaption { margin-top: .25rem; }
.sheet { overflow-x: auto; }
.sheet img { max-width: none; image-rendering: auto; }
.curve { width: 100%; color: var(--ink); }
dl {
  display: grid; grid-template-columns: max-content 1fr;
  gap: .35rem 1.25rem; margin: 0;
}
dd { margin: 0; overflow-wrap: anywhere; }
pre {
  margin: 0; padding: .9rem; overflow-x: auto; border-radius: 8px;
  background: var(--shade); font-size: .85rem;
}
dl + h3 { margin-top: 1.5rem; }
@media (max-width: 40rem) {
  main { padding-top: 1.5rem; }
  thead { display: none; }
  tr { display: block; padding: .7rem 0; border-top: 1px solid var(--rule); }
  tbody th, td { display: block; padding: 0; border: 0; }
  td[data-head]::before {
    content: attr(data-head) ": "; color: var(--soft); font-size: .9rem;
  }
  .curve { font-size: 18px; }
  dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: .6rem; }
}
"""
