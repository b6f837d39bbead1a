"""Documented tables of rows show every row of the code, with its options."""

import dataclasses
import importlib
import json
import math
import pathlib
import re

import pytest

import pages
from framebridge_jax import arguments
from framebridge_jax.models import latte

ROWS = re.compile(r'<!-- rows of (\S+) -->\s*((?:\|.*\n)+)')


def table_of(name: str):
  """A table of rows by its dotted name below the package."""
  module, _, attribute = name.rpartition('.')
  module = importlib.import_module(f'framebridge_jax.{module}')
  return getattr(module, attribute)


def wrong_options(text: str, table) -> list[str]:
  """Rows that are missing, unknown, or shown with other options.

  Column 1 holds the names, in order; a column `options`, if there is one, what
  stands behind their colon.
  """
  head, _, *lines = text.strip().splitlines()
  heads = [cell.strip() for cell in head.split('|')[1:-1]]
  shown = {}
  for line in lines:
    cells = [cell.strip() for cell in line.split('|')[1:-1]]
    options = cells[heads.index('options')] if 'options' in heads else ''
    for name in _quoted(cells[0]):
      shown[name] = ','.join(_quoted(options))
  wrong = [
    name for name in (*shown, *table) if (name in shown) != (name in table)
  ]
  for name in shown.keys() & table.keys():
    # Rows that are data have no options.
    row = table[name]
    defaults = arguments.options_of(row) if callable(row) else {}
    try:
      values = arguments.parse_arg(shown[name], **defaults)
      keys = {item.partition('=')[0] for item in shown[name].split(',') if item}
    except ValueError:
      values, keys = {}, set()
    if values != defaults or keys != set(defaults):
      wrong.append(name)
  return sorted(wrong)


def _quoted(cell):
  return re.findall(r'`([^`]*)`', cell)


def _tables_of_rows():
  return [
    (str(page), name, text)
    for page in pages.PAGES
    for name, text in ROWS.findall(pages.said_in(page))
  ]


@pytest.mark.parametrize(
  ('page', 'name', 'text'),
  _tables_of_rows(),
  ids=[f'{page}-{name}' for page, name, _ in _tables_of_rows()],
)
def test_table_shows_every_row_and_its_options(page, name, text):
  assert not wrong_options(text, table_of(name)), page


def test_a_wrong_table_of_rows_is_found():
  def row(key=1, *, eta: float = 0.5):
    return key, eta

  table = {'a': row, 'b': lambda: 0}
  head = '| name | options |\n|---|---|\n'
  right = head + '| `a` | `eta=0.5` |\n| `b` | |\n'
  assert wrong_options(right, table) == []
  assert wrong_options(head + '| `a` | `eta=0.5` |\n', table) == ['b']
  assert wrong_options(right + '| `c` | |\n', table) == ['c']
  assert wrong_options(right.replace('0.5', '0.4'), table) == ['a']
  assert wrong_options(right.replace('`eta=0.5`', ''), table) == ['a']
  assert wrong_options(right.replace('eta', 'tea'), table) == ['a']
  assert wrong_options('| name |\n|---|\n| `b` |\n', {'b': row}) == ['b']


def test_the_architecture_lists_all_tables_and_their_rows():
  """Column 2 is a table of the package, column 3 its rows, in order."""
  page = pages.said_in(pathlib.Path('docs/architecture.md'))
  text = page.partition('| key | table | rows |\n|---|---|---|\n')[2]
  lines = text.partition('\n\n')[0].splitlines()
  assert len(lines) > 15
  for line in lines:
    _, name, rows = (cell.strip() for cell in line.split('|')[1:-1])
    shown = _quoted(rows.partition(';')[0])
    assert shown == list(table_of(name.strip('`'))), name


def wrong_defaults(page: str) -> list[str]:
  """Options of Latte that are shown with another default; none: needed."""
  defaults = {
    field.name: '' if field.default is dataclasses.MISSING else field.default
    for field in dataclasses.fields(latte.Latte)
  }
  text = page.partition('| key | default | meaning |\n')[2].partition('\n\n')[0]
  wrong = []
  for line in text.splitlines()[1:]:
    name, shown = (cell.strip(' `') for cell in line.split('|')[1:3])
    if str(defaults[name]).lower() != shown:
      wrong.append(name)
  return wrong


def test_options_of_latte_are_shown_with_their_defaults():
  page = pages.said_in(pathlib.Path('docs/models.md'))
  assert not wrong_defaults(page)
  other = page.replace('| `scan` | false |', '| `scan` | true |')
  assert wrong_defaults(other) == ['scan']


MANIFESTS = pages.ROOT / 'tests' / 'golden' / 'manifests'


def wrong_sizes(page: str) -> list[str]:
  """Sizes whose numbers are not those of the public code's state dicts."""
  shown = {}
  for line in page.splitlines():
    cells = [cell.strip(' `').replace(',', '') for cell in line.split('|')]
    if len(cells) == 8 and cells[1] in latte.SIZES:
      shown[cells[1]] = [int(cell) for cell in cells[2:-1]]
  wrong = []
  for size in latte.SIZES.keys() - {'tiny'}:
    file = MANIFESTS / f'latte_{size}2_class101.json'
    shapes = json.loads(file.read_text('utf-8'))
    width = shapes['x_embedder.proj.weight'][0]
    blocks = sum(name.endswith('attn.qkv.weight') for name in shapes)
    trained = sum(
      math.prod(shape)
      for name, shape in shapes.items()
      if name not in ('pos_embed', 'temp_embed')
    )
    # Heads leave no trace in shapes.
    heads = latte.SIZES[size]['heads']
    want = [width, blocks, heads, trained - 102 * width, trained]
    if shown.get(size) != want:
      wrong.append(size)
  return wrong


def test_sizes_are_those_of_the_public_state_dicts():
  page = pages.said_in(pathlib.Path('docs/models.md'))
  assert not wrong_sizes(page)
  assert wrong_sizes(page.replace('129,625,376', '129,625,377')) == ['b']
  assert wrong_sizes(page.replace('| `l` |', '| `m` |')) == ['l']
