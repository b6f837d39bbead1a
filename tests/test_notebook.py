"""The notebook is its script's, runs on a CPU, and stops where it should."""

import importlib.util
import os
import pathlib

import nbformat
import pytest

ROOT = pathlib.Path(__file__).parents[1]


def _generator():
  spec = importlib.util.spec_from_file_location(
    'notebook', ROOT / 'launch' / 'notebook.py'
  )
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


notebook = _generator()
CELLS = [x for x in notebook.read().cells if x.cell_type == 'code']


def _cell(text):
  (found,) = [x.source for x in CELLS if text in x.source]
  return found


def test_the_notebook_is_the_script_s():
  kept = nbformat.read(notebook.NOTEBOOK, as_version=4)
  nbformat.validate(kept)
  got = [(x.cell_type, x.source) for x in kept.cells]
  assert got == [(x.cell_type, x.source) for x in notebook.read().cells]


def test_the_kept_notebook_was_run_to_its_end():
  kept = nbformat.read(notebook.NOTEBOOK, as_version=4)
  cells = [x for x in kept.cells if x.cell_type == 'code']
  assert [x.execution_count for x in cells] == list(range(1, len(cells) + 1))
  outputs = [y for x in cells for y in x.outputs]
  assert not [x for x in outputs if x.output_type == 'error']
  assert sum('text/html' in x.get('data', {}) for x in outputs) >= 5
  assert sum('image/svg+xml' in x.get('data', {}) for x in outputs) == 4
  assert notebook.NOTEBOOK.stat().st_size < 2e6
  # A clip is its picture; its numbers and its maker's folders stay out.
  for place in ('/home/', '/root/', '/work/', '/tmp/'):
    assert place not in notebook.NOTEBOOK.read_text()


def test_an_own_picture_moves_within_ten_cells():
  assert len(CELLS) <= 10
  sources = [x.source for x in CELLS]
  assert any('PICTURE' in x for x in sources[:5])
  assert any('pipeline.animate(picture' in x for x in sources[:5])


def test_all_cells_run_on_a_cpu(tmp_path, monkeypatch):
  monkeypatch.setenv('FRAMEBRIDGE_TINY', '1')
  monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
  monkeypatch.setenv('XLA_FLAGS', '')
  monkeypatch.setenv('PYTHONPATH', str(ROOT))
  # What a cell finds of an accelerator here is not this test's business.
  source = notebook.read()
  for cell in source.cells:
    cell.source = cell.source.replace('ON_CPU = False', 'ON_CPU = True')
  done = notebook.execute(source, tmp_path)
  assert (tmp_path / 'animated.mp4').stat().st_size > 0
  assert (tmp_path / 'animated.json').stat().st_size > 0
  assert all(x.execution_count for x in done.cells if x.cell_type == 'code')


@pytest.mark.parametrize(
  ('devices', 'backend', 'stops'),
  [
    (['/dev/nvidia0'], 'cpu', True),
    (['/dev/nvidia0'], 'gpu', False),
    (['/dev/accel0'], 'cpu', True),
    ([], 'cpu', False),
  ],
)
def test_an_accelerator_that_jax_does_not_see_stops_it_loudly(
  devices, backend, stops, monkeypatch
):
  import glob
  import shutil

  import jax

  def found(pattern):
    return [x for x in devices if pattern.rstrip('*[0-9]') in x]

  monkeypatch.setattr(glob, 'glob', found)
  monkeypatch.setattr(shutil, 'which', lambda name: None)
  monkeypatch.setattr(jax, 'default_backend', lambda: backend)
  names = {'os': os}
  if stops:
    with pytest.raises(RuntimeError, match='sees only the CPU'):
      exec(_cell('def accelerator'), names)  # noqa: S102
  else:
    exec(_cell('def accelerator'), names)  # noqa: S102


def _install(monkeypatch, folder, returncode=0):
  """Runs the cell where the package is missing; gives pip's words."""
  import subprocess

  said = []

  def run(words, **options):
    said.extend(words)
    return subprocess.CompletedProcess(words, returncode)

  monkeypatch.chdir(folder)
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  monkeypatch.setattr(subprocess, 'run', run)
  exec(_cell('jax_pins.txt'), {})  # noqa: S102
  return said


def test_installing_pins_the_jax_that_is_there(tmp_path, monkeypatch):
  import jax

  monkeypatch.setenv('FRAMEBRIDGE_SOURCE', 'git+https://example.org/x.git')
  said = _install(monkeypatch, tmp_path)
  assert said[-3:] == ['-c', 'jax_pins.txt', 'git+https://example.org/x.git']
  pins = (tmp_path / 'jax_pins.txt').read_text().splitlines()
  assert f'jax=={jax.__version__}' in pins
  assert any(x.startswith('jaxlib==') for x in pins)


def test_a_jax_that_does_not_fit_is_left_and_told_of(tmp_path, monkeypatch):
  monkeypatch.setenv('FRAMEBRIDGE_SOURCE', 'anywhere')
  with pytest.raises(RuntimeError, match='does not fit the jax of this run'):
    _install(monkeypatch, tmp_path, returncode=1)


def test_without_an_address_there_is_nothing_to_install(tmp_path, monkeypatch):
  monkeypatch.delenv('FRAMEBRIDGE_SOURCE', raising=False)
  with pytest.raises(RuntimeError, match='set SOURCE'):
    _install(monkeypatch, tmp_path)
