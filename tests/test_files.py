"""Files of users; the buckets themselves are in cli/test_bucket.py."""

import ast
import os
import pathlib

import pytest
from etils import epath

from framebridge_jax import files


def test_the_target_appears_with_all_that_was_written(tmp_path):
  target = tmp_path / 'a.txt'
  with files.replacing(target) as part:
    part.write_text('new')
    assert not target.exists()
  assert target.read_text() == 'new'
  assert list(tmp_path.iterdir()) == [target]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
  target = tmp_path / 'a.txt'
  target.write_text('old')
  with pytest.raises(KeyboardInterrupt), files.replacing(target) as part:
    part.write_text('half')
    raise KeyboardInterrupt
  assert target.read_text() == 'old'
  assert list(tmp_path.iterdir()) == [target]


def test_what_a_failed_block_wrote_for_a_bucket_is_never_brought_there(
  monkeypatch,
):
  brought = []
  monkeypatch.setattr(files, 'put', lambda *places: brought.append(places))
  with pytest.raises(ValueError), files.replacing('gs://b/x.txt') as part:
    part.write_text('half')
    raise ValueError
  assert not brought
  with files.replacing('gs://b/x.txt') as part:
    part.write_text('all')
  assert [target for _, target in brought] == ['gs://b/x.txt']
  assert not part.exists()


def test_a_local_folder_is_its_own_outbox(tmp_path):
  outbox = files.Outbox(tmp_path)
  outbox.fetch('log.txt')
  outbox.close()
  assert outbox.folder == tmp_path
  assert tmp_path.is_dir()


def test_what_grows_is_brought_to_a_bucket_now_and_then_and_at_the_end(
  monkeypatch,
):
  """Only what has changed; and at the end the copy here is gone."""
  brought = []

  def put(source, target):
    brought.append((os.fspath(target), source.read_text()))

  monkeypatch.setattr(files, 'put', put)
  monkeypatch.setattr(epath.Path, 'mkdir', lambda *args, **kwargs: None)
  monkeypatch.setattr(type(epath.Path('gs://b')), 'mkdir', lambda *a, **k: None)
  outbox = files.Outbox('gs://b/run')
  log, other = outbox.folder / 'log.txt', outbox.folder / 'sub' / 'other.txt'
  other.parent.mkdir()
  log.write_text('1')
  other.write_text('x')
  outbox.bring()
  first = [('gs://b/run/log.txt', '1'), ('gs://b/run/sub/other.txt', 'x')]
  assert brought == first
  log.write_text('1 2')
  outbox.bring()  # too early
  assert brought == first
  outbox.bring(now=True)
  assert brought == [*first, ('gs://b/run/log.txt', '1 2')]
  log.write_text('1 2 3')
  outbox.close()
  assert brought[-1] == ('gs://b/run/log.txt', '1 2 3')
  assert not outbox.folder.exists()


def test_a_pipe_a_folder_and_a_dead_link_are_no_files(tmp_path):
  os.mkfifo(tmp_path / 'pipe')
  (tmp_path / 'link').symlink_to('nowhere')
  (tmp_path / 'ring').symlink_to('ring')
  (tmp_path / 'there').write_text('')
  (tmp_path / 'way').symlink_to('there')
  names = 'pipe', 'link', 'ring', '.', 'missing', 'there', 'way'
  found = [name for name in names if files.is_file(tmp_path / name)]
  assert found == ['there', 'way']


def test_paths_of_users_are_opened_through_epath_alone():
  """No builtin `open`, no `os.path`; a path of this machine has its reason."""
  found, used = [], set()
  for path in sorted(PACKAGE.rglob('*.py')):
    name = path.relative_to(PACKAGE).as_posix()
    for node in ast.walk(ast.parse(path.read_text('utf-8'))):
      said = ast.unparse(node)
      call = isinstance(node, ast.Call) and ast.unparse(node.func)
      local = call == 'pathlib.Path' and '__file__' not in said
      if local:
        used.add(name)
      if call == 'open' or said == 'os.path' or (local and name not in HERE):
        found.append(f'{name}:{node.lineno}: {said}')
  assert not found
  assert used == set(HERE)


PACKAGE = pathlib.Path(files.__file__).parent
# What is a file of this machine, and why.
HERE = {
  'files.py': 'what was brought here',
  'cli/configs.py': 'recipes are programs',
  'cli/places.py': 'recipes are programs',
  'cli/doctor.py': 'shared memory',
  'cli/port.py': 'where a port is put together',
  'data/builders/preparing.py': 'where a data set is put together',
  'data/folder.py': 'frames that are mapped into memory',
  'data/token_files.py': 'tokenizers that were brought here',
  'main.py': 'where an error was raised',
  'report/video.py': 'a clip on its way into a page',
  'training/lock.py': 'a file that is locked',
}
