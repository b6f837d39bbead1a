"""The pages of the documentation, as tests read them."""

import ast
import pathlib

ROOT = pathlib.Path(__file__).parents[1]
PAGES = sorted(
  path.relative_to(ROOT)
  for pattern in ('*.md', 'docs/**/*.md', 'launch/*.md', 'benchmarks/**/*.md')
  for path in ROOT.glob(pattern)
) + [
  pathlib.Path('framebridge_jax/data/builders/digits8.md'),
  pathlib.Path('tests/golden/README.md'),
]


def said_in(path: pathlib.Path) -> str:
  """What a file says to its reader: all of it, or a module's docstring."""
  text = (ROOT / path).read_text('utf-8')
  if path.suffix == '.py':
    return ast.get_docstring(ast.parse(text)) or ''
  return text
