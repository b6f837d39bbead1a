"""Imports point down: the layers of CONTRIBUTING.md, checked by reading code.

A unit is a top-level module or package of framebridge_jax.  A unit may import
itself and the units below its row, but not its neighbours in the row; `build`,
`jobs`, `keys`, `check` and `contradictions` share a room and may import each
other.
"""

import ast
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

import pytest

PACKAGE = 'framebridge_jax'
ROOT = pathlib.Path(__file__).parents[1]


class Import(NamedTuple):
  """One imported dotted name; `top` is true outside functions."""

  name: str
  line: int
  top: bool


def violations(package: pathlib.Path) -> list[str]:
  """Every breach of the rule below `package`, as 'file:line: sentence'."""
  found = []
  for path in sorted(package.rglob('*.py')):
    where = path.relative_to(package)
    unit = where.parts[0].removesuffix('.py')
    if unit not in UNITS:
      found.append(f'{where}:1: {unit} belongs to no known layer')
      continue
    for item in imports(ast.parse(path.read_text('utf-8')), package.name):
      found += [
        f'{where}:{item.line}: {text}'
        for text in _breaches(unit, item, package.name)
      ]
  return found


def imports(tree: ast.Module, package: str) -> Iterator[Import]:
  """All imports of a module; names from the package are spelled out."""
  inner = {
    id(node)
    for function in ast.walk(tree)
    if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
    for node in ast.walk(function)
  }
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.level:
      names = ['.' * node.level + (node.module or '')]
    elif isinstance(node, ast.ImportFrom) and node.module == package:
      names = [f'{package}.{alias.name}' for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
      names = [node.module]
    else:
      continue
    for name in names:
      yield Import(name, node.lineno, id(node) not in inner)


def _breaches(unit, item, package):
  root, _, rest = item.name.partition('.')
  if item.name.startswith('.'):
    yield f'relative import {item.name}; write it from {package}'
  elif root == package:
    yield from _breaches_inside(unit, rest.partition('.')[0], item)
  elif unit == 'recipes' and root != 'ml_collections':
    yield f'recipes import {root}; a recipe is data and needs ml_collections'
  elif root == 'ml_collections' and unit not in SEES_CONFIGS:
    yield f'{unit} imports ml_collections; pass values, not a config'
  elif root == 'flax' and unit in WITHOUT_FLAX:
    yield f'{unit} imports flax; it is mathematics over arrays'
  elif root in LAZY and item.top:
    yield f'{root} is imported with the module; import it where it is used'


def _breaches_inside(unit, target, item):
  if target == 'version' or unit == target == 'recipes':
    return
  if target not in UNITS:
    yield f'{unit} imports {item.name}, which is no module of a known layer'
  elif unit == '__init__':
    if target != 'pipeline' or item.top:
      yield f'__init__ imports {target}; it may import pipeline, lazily'
  elif unit in LEAVES or target in LEAVES:
    yield f'{unit} imports {target}; they stand apart from the layers'
  elif (unit, target) in BANNED:
    yield f'{unit} imports {target}; they must not know each other'
  elif UNITS[unit] > UNITS[target]:
    yield f'{unit} imports {target}, a layer above it'
  elif UNITS[unit] == UNITS[target] and not _one_room(unit, target):
    yield f'{unit} imports {target}, its neighbour'


def _one_room(unit, target):
  return unit == target or {unit, target} <= set(ROOM)


def test_the_package_keeps_the_rule():
  assert not violations(ROOT / PACKAGE)


def test_importing_the_package_is_light():
  """A fresh interpreter: no PyTorch, no TensorFlow."""
  code = (
    f'import sys, {PACKAGE}; '
    "print(*({'torch', 'tensorflow'} & set(sys.modules)))"
  )
  result = subprocess.run(
    [sys.executable, '-c', code],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
  )
  assert not result.stdout.strip()


@pytest.mark.parametrize(
  ('file', 'source', 'complaint'),
  [
    ('processes/bridge.py', 'from P import samplers', 'a layer above'),
    ('processes/bridge.py', 'import P.models.latte', 'a layer above'),
    ('arrays.py', 'from P.processes import bridge', 'a layer above'),
    ('rules.py', 'from P.processes import times', 'a layer above'),
    ('arguments.py', 'from P import rules', 'a layer above'),
    ('arguments.py', 'from P import arrays', 'its neighbour'),
    ('files.py', 'from P import rules', 'a layer above'),
    ('rules.py', 'import ml_collections', 'not a config'),
    ('processes/bridge.py', 'from flax import linen', 'imports flax'),
    ('samplers/loop.py', 'import flax.struct', 'imports flax'),
    ('samplers/loop.py', 'from P import models', 'its neighbour'),
    ('models/latte.py', 'from P.processes import bridge', 'must not know'),
    ('denoiser.py', 'from P import data', 'its neighbour'),
    ('data/clips.py', 'from P import denoiser', 'its neighbour'),
    ('porting/rules.py', 'from P import data', 'a layer above'),
    ('report/html.py', 'from P.training import loop', 'its neighbour'),
    ('tasks/plans.py', 'from P import evaluation', 'its neighbour'),
    ('training/loop.py', 'from P import build', 'a layer above'),
    ('build.py', 'from P.cli import train', 'a layer above'),
    ('build.py', 'from P import pipeline', 'a layer above'),
    ('cli/train.py', 'from P import main', 'a layer above'),
    ('training/loop.py', 'def f():\n  from P import cli', 'a layer above'),
    ('training/loop.py', 'import ml_collections', 'not a config'),
    ('pipeline.py', 'import ml_collections', 'not a config'),
    ('evaluation/fvd.py', 'import torch', 'imported with the module'),
    ('data/clips.py', 'import tensorflow as tf', 'imported with the module'),
    ('cli/train.py', 'try:\n  import torch\nfinally: 0', 'with the module'),
    ('models/latte.py', 'class A:\n  import torch', 'with the module'),
    ('models/latte.py', 'from . import layers', 'relative import'),
    ('data/clips.py', 'import P', 'no module of a known layer'),
    ('data/clips.py', 'from P import nowhere', 'no module of a known layer'),
    ('__init__.py', 'from P import pipeline', 'lazily'),
    ('__init__.py', 'def f():\n  from P import build', 'lazily'),
    ('version.py', 'from P import arrays', 'stand apart'),
    ('cli/train.py', 'from P import recipes', 'stand apart'),
    ('recipes/train.py', 'import jax', 'a recipe is data'),
    ('recipes/train.py', 'from P import arrays', 'stand apart'),
    ('utils.py', '', 'no known layer'),
    ('helpers/__init__.py', '', 'no known layer'),
  ],
)
def test_a_breach_is_found(tmp_path, file, source, complaint):
  package = _write(tmp_path, file, source)
  (found,) = violations(package)
  assert found.startswith(file)
  assert complaint in found


@pytest.mark.parametrize(
  ('file', 'source'),
  [
    ('main.py', 'from P import cli\nimport ml_collections'),
    ('cli/train.py', 'from P import build, pipeline\nfrom P.cli import resume'),
    ('pipeline.py', 'from P import build\nfrom P.tasks import generate'),
    ('build.py', 'from P import check\nimport ml_collections'),
    ('check.py', 'from P import build'),
    ('check.py', 'from P import arguments, rules'),
    ('rules.py', 'from P import arguments'),
    ('training/loop.py', 'from P import denoiser, data\nimport flax'),
    ('denoiser.py', 'from P import models, processes'),
    ('models/latte.py', 'from P import arrays\nfrom flax import linen'),
    ('evaluation/fvd.py', 'def f():\n  import torch'),
    ('data/builders/digits.py', 'import tensorflow_datasets as tfds'),
    ('recipes/train.py', 'import ml_collections'),
    ('cli/train.py', 'from P import version'),
    ('__init__.py', 'from P import version\ndef f():\n  import P.pipeline'),
  ],
)
def test_what_is_allowed_passes(tmp_path, file, source):
  assert not violations(_write(tmp_path, file, source))


def _write(folder, file, source):
  path = folder / PACKAGE / file
  path.parent.mkdir(parents=True)
  path.write_text(source.replace('P', PACKAGE))
  return folder / PACKAGE


ROOM = (
  'build',
  'jobs',
  'keys',
  'check',
  'contradictions',
  'data_contradictions',
  'saved',
  'sampling',
  'sample_keys',
  'provenance',
  'wishes',
)

# Top first; units of one row do not import each other.
LAYERS = (
  ('main',),
  ('cli',),
  ('pipeline',),
  ROOM,
  ('tasks', 'training', 'evaluation', 'report'),
  ('denoiser', 'data'),
  ('porting',),
  ('samplers', 'models'),
  ('processes',),
  ('rules',),
  ('arrays', 'arguments', 'files'),
)
LEAVES = ('version', 'recipes')
UNITS = {unit: rank for rank, row in enumerate(LAYERS) for unit in row}
UNITS |= dict.fromkeys(('__init__', *LEAVES), -1)

BANNED = (('models', 'processes'),)
SEES_CONFIGS = ('main', 'cli', *ROOM, 'recipes')
WITHOUT_FLAX = ('processes', 'samplers')
LAZY = ('torch', 'tensorflow')
