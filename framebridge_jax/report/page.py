"""The look of all reports: one self-contained page, light and dark.

A content policy forbids the page to fetch anything, and to run any script but
its own, which it names by digest.  Every text that comes in is escaped; `body`
and `sections` are markup.
"""

import base64
import hashlib
import string
from collections.abc import Mapping, Sequence
from html import escape


def render(
  title: str, summary: str, sections: Sequence[str], script: str = ''
) -> str:
  """The page as text; `script` is JavaScript that it runs when it is there."""
  digest = hashlib.sha256(script.encode()).digest()
  allowed = f"'sha256-{base64.b64encode(digest).decode()}'"
  return _PAGE.substitute(
    title=escape(title),
    summary=escape(summary),
    style=_STYLE,
    policy=f'; script-src {allowed}' if script else '',
    sections='\n'.join(sections),
    script=f'<script>{script}</script>\n' if script else '',
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
img-src data:; media-src data:; style-src 'unsafe-inline'$policy">
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
$script</body>
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
.films {
  display: grid; gap: .9rem; overflow-x: auto;
  grid-template-columns: max-content repeat(var(--methods), max-content);
  align-items: center;
}
.films h3 { margin: 0; max-width: 12rem; overflow-wrap: anywhere; }
.film {
  width: var(--side); height: calc(var(--side) * var(--aspect, 1));
  background-repeat: no-repeat; border-radius: 4px;
  background-size: calc(var(--side) * var(--frames)) 100%;
  background-position-x: calc(
    var(--side) * -1 * clamp(0, var(--frame, 0), var(--frames) - 1)
  );
}
.small { image-rendering: pixelated; }
.desk {
  position: sticky; top: 0; display: flex; gap: .8rem; flex-wrap: wrap;
  align-items: center; padding: .6rem 0; background: var(--paper); z-index: 1;
}
.desk input[type=range] { flex: 1; min-width: 10rem; }
button, select {
  font: inherit; color: inherit; background: var(--shade);
  border: 1px solid var(--rule); border-radius: 6px; padding: .3rem .8rem;
}
button:focus-visible, select:focus-visible { outline: 2px solid var(--accent); }
.wide { overflow-x: auto; }
.wide td { white-space: nowrap; font-variant-numeric: tabular-nums; }
.wide td.meaning { white-space: normal; min-width: 14rem; }
.aside { color: var(--soft); font-size: .85rem; }
.best { font-weight: 700; }
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
