"""The look of all reports: one self-contained page, light and dark.

A content policy forbids the page to fetch anything.  Every text that comes in
is escaped; `body` and `sections` are markup.
"""

import string
from collections.abc import Mapping, Sequence
from html import escape


def render(title: str, summary: str, sections: Sequence[str]) -> str:
  """The page as text."""
  return _PAGE.substitute(
    title=escape(title),
    summary=escape(summary),
    style=_STYLE,
    sections='\n'.join(sections),
  )


def section(heading: str, body: str) -> str:
  """The section, or nothing where it would be empty."""
  return f'<section>\n<h2>{heading}</h2>\n{body}\n</section>' if body else ''


def paragraph(text: str) -> str:
  """A paragraph of plain text."""
  return f'<p>{escape(text)}</p>'


def facts(facts: Mapping[str, str], settings: Sequence[str] = ()) -> str:
  """A list of names and texts, and settings as they are written."""
  rows = ''.join(
    f'<dt>{escape(name)}</dt><dd>{escape(text)}</dd>'
    for name, text in facts.items()
  )
  body = f'<dl>{rows}</dl>'
  if settings:
    lines = escape('\n'.join(settings))
    body += f'\n<h3>Settings</h3>\n<pre>{lines}</pre>'
  return body


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
  --blue: #0072b2; --orange: #c75300; --green: #008a64;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171c; --ink: #e4e7ec; --soft: #9aa3b0; --rule: #2c323b;
    --shade: #1c2027; --accent: #7aa7f7; --good: #6fcf97; --bad: #ff8a80;
    --blue: #56b4e9; --orange: #f0894a; --green: #3cc79a;
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
.sheet .plot { max-width: none; }
.ink { stroke: var(--soft); } .ink-text { fill: var(--soft); }
.blue { stroke: var(--blue); } .blue-text { fill: var(--blue); }
.orange { stroke: var(--orange); } .orange-text { fill: var(--orange); }
.green { stroke: var(--green); } .green-text { fill: var(--green); }
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
