"""Links lead somewhere, nothing is left to fill in, quoted messages exist."""

import ast
import functools
import pathlib
import re

import pytest

import pages


def broken_links(text: str, folder: pathlib.Path) -> list[str]:
  """Relative links of a Markdown text that lead to no file or heading."""
  broken = []
  for link in re.findall(r'\]\(([^)\s]+)\)', text):
    if re.match(r'[a-z]+:', link):
      continue
    name, _, anchor = link.partition('#')
    path = folder / name
    if name and not path.exists():
      broken.append(link)
    elif anchor:
      page = path.read_text('utf-8') if name else text
      if anchor not in _anchors(page):
        broken.append(link)
  return broken


def _anchors(text):
  headings = re.findall(r'^#+ (.*)$', text, re.MULTILINE)
  return {
    re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-')
    for heading in headings
  }


@pytest.mark.parametrize('page', pages.PAGES, ids=str)
def test_relative_links_lead_somewhere(page):
  assert not broken_links(pages.said_in(page), (pages.ROOT / page).parent)


def test_a_broken_link_is_found(tmp_path):
  (tmp_path / 'a.md').write_text('# One heading\n')
  text = '[x](a.md) [x](a.md#one-heading) [x](https://example.org) [x](b.md)'
  assert broken_links(text, tmp_path) == ['b.md']
  assert broken_links('[x](a.md#two)', tmp_path) == ['a.md#two']
  assert broken_links('# Me\n[x](#me) [x](#you)', tmp_path) == ['#you']


def placeholders(text: str) -> list[str]:
  """What was to be filled in before the page was committed."""
  return re.findall(r'\{\{.*?\}\}', text)


@pytest.mark.parametrize('page', pages.PAGES, ids=str)
def test_no_placeholder_is_left(page):
  assert not placeholders(pages.said_in(page))


def test_a_placeholder_is_found():
  assert placeholders('took {{HOURS}} hours, {not} this') == ['{{HOURS}}']


def messages(package: pathlib.Path) -> list[str]:
  """All texts of a package, with `…` where a value is filled in."""
  found = []
  for path in package.rglob('*.py'):
    for node in ast.walk(ast.parse(path.read_text('utf-8'))):
      if isinstance(node, ast.JoinedStr):
        parts = [
          part.value if isinstance(part, ast.Constant) else '…'
          for part in node.values
        ]
        found.append(''.join(map(str, parts)))
      elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        found.append(re.sub(r'%[.\d]*[sdf]', '…', node.value))
  return found


def quoted() -> list[str]:
  """The messages that head the entries of the troubleshooting page."""
  page = pages.said_in(pathlib.Path('docs/troubleshooting.md'))
  return re.findall(r'^### `(.*)`$', page, re.MULTILINE)


@functools.cache
def _known():
  launcher = (pages.ROOT / 'launch' / 'environment.sh').read_text('utf-8')
  spoken = re.findall(r"""['"]([^'"]+)['"]""", launcher)
  return messages(pages.ROOT / 'framebridge_jax') + [
    re.sub(r'\$\{[^}]*\}|\$\w+', '…', text) for text in spoken
  ]


@pytest.mark.parametrize('message', quoted())
def test_a_quoted_message_is_in_the_source(message):
  start = message.removesuffix('…')
  assert any(text.startswith(start) for text in _known()), message


def test_messages_are_read_from_the_source(tmp_path):
  (tmp_path / 'a.py').write_text("x = f'no {a} at ' f'{b!r}; try'\ny = '%d of'")
  assert 'no … at …; try' in messages(tmp_path)
  assert '… of' in messages(tmp_path)
