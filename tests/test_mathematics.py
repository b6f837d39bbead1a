"""Every displayed equation of docs/mathematics.md names a test that exists."""

import ast
import pathlib
import re

import pytest

import pages

PAGE = pathlib.Path('docs/mathematics.md')
NAME = re.compile(r'`(tests/\S+\.py)::(\w+)`')


def displayed(text: str) -> list[tuple[str, str]]:
  """Each displayed equation with the paragraph that follows it."""
  parts = re.split(r'^\$\$$', text, flags=re.MULTILINE)
  equations, between = parts[1::2], parts[2::2]
  return [
    (equation.strip(), after.strip().partition('\n\n')[0])
    for equation, after in zip(equations, between, strict=True)
  ]


def unchecked(text: str, tests: set[tuple[str, str]]) -> list[str]:
  """Equations whose next paragraph does not name tests that all exist."""
  wrong = []
  for equation, after in displayed(text):
    named = NAME.findall(after)
    rest = re.sub(r'[\s,;.]|and', '', NAME.sub('', after))
    if rest != '*Checkedby*' or not named or set(named) - tests:
      wrong.append(_tag(equation))
  return wrong


def _tag(equation):
  found = re.search(r'\\tag\{(\d+)\}', equation)
  return found[1] if found else equation


def names_of_tests(root: pathlib.Path) -> set[tuple[str, str]]:
  """File and name of every test function, by reading the code."""
  return {
    (path.relative_to(root).as_posix(), node.name)
    for path in (root / 'tests').rglob('test_*.py')
    for node in ast.parse(path.read_text('utf-8')).body
    if isinstance(node, ast.FunctionDef) and node.name.startswith('test_')
  }


def test_every_displayed_equation_names_a_test_that_exists():
  assert not unchecked(pages.said_in(PAGE), names_of_tests(pages.ROOT))


def test_every_test_that_the_page_names_exists():
  """The table of errata among them."""
  named = set(NAME.findall(pages.said_in(PAGE)))
  assert not named - names_of_tests(pages.ROOT)


def test_equations_are_numbered_from_one_on():
  tags = [_tag(equation) for equation, _ in displayed(pages.said_in(PAGE))]
  assert tags == [str(i + 1) for i in range(len(tags))]
  assert len(tags) > 40


def test_every_erratum_names_the_test_that_catches_it():
  table = pages.said_in(PAGE).partition('\n## Errata\n')[2]
  rows = re.findall(r'^\| \d+ \|.*\|$', table, re.MULTILINE)
  assert len(rows) == 6
  for row in rows:
    assert NAME.search(row.rstrip(' |').rpartition('|')[2]), row


def test_references_lead_to_equations():
  """A number in brackets is one of ours; the papers' follow `Eq.`."""
  text = pages.said_in(PAGE)
  count = len(displayed(text))
  prose = re.sub(r'^\$\$$.*?^\$\$$', '', text, flags=re.MULTILINE | re.DOTALL)
  used = {int(n) for n in re.findall(r'(?<![\w`^])\((\d+)\)', prose)}
  assert used
  assert max(used) <= count


GOOD = (
  '$$\nx\n\\tag{1}\n$$\n\n*Checked by* `tests/test_a.py::test_b`\n\nAnd so\n'
)


@pytest.mark.parametrize(
  'text',
  [
    GOOD.replace('*Checked by*', 'See'),
    GOOD.replace('test_b', 'test_c'),
    GOOD.replace('tests/test_a.py::', ''),
    GOOD.replace('\n\nAnd so', ', perhaps'),
    GOOD.replace('`\n', '`, `tests/test_a.py::test_c`\n'),
    GOOD.replace('*Checked by* ', 'So\n\n*Checked by* '),
  ],
)
def test_an_equation_without_a_test_is_found(text, tmp_path):
  (tmp_path / 'tests').mkdir()
  (tmp_path / 'tests' / 'test_a.py').write_text('def test_b():\n  pass\n')
  tests = names_of_tests(tmp_path)
  assert tests == {('tests/test_a.py', 'test_b')}
  assert unchecked(GOOD, tests) == []
  assert unchecked(text, tests) == ['1']
