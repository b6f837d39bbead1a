"""Files of users: on this machine, or in a bucket.

A user's path is an `etils.epath` path, so that `gs://`, `s3://` and others work
where a local one does.  Object stores know no renaming, no appending, no locks
and no memory maps; what needs one of these is done on this machine, and the
result is brought there whole.
"""

import contextlib
import functools
import hashlib
import os
import pathlib
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator

import fsspec
from etils import epath


def is_local(path: epath.PathLike) -> bool:
  """Whether it is a path of this machine's file system."""
  return '://' not in os.fspath(epath.Path(path))


def is_file(path: epath.PathLike) -> bool:
  """Whether it can be read to its end: no folder, no pipe, no dead link."""
  path = epath.Path(path)
  return (pathlib.Path(path) if is_local(path) else path).is_file()


def real(path: epath.PathLike) -> str:
  """The path without links, of which a bucket has none."""
  return os.fspath(pathlib.Path(path).resolve() if is_local(path) else path)


def absolute(path: epath.PathLike) -> epath.Path:
  """The path from the root; an address is one already."""
  return epath.Path(path).resolve() if is_local(path) else epath.Path(path)


def connect(path: epath.PathLike) -> None:
  """Sees that a bucket answers; does nothing for a local path.

  Listings of buckets are not remembered from then on: other hosts write there.

  Raises:
    ValueError: It does not; the message says why.
  """
  if is_local(path):
    return
  for scheme in SCHEMES:
    fsspec.config.conf.setdefault(scheme, {})['use_listings_cache'] = False
  try:
    epath.Path(path).exists()
  except ImportError as error:
    raise ValueError(
      f'{path} needs a package that is not installed ({error}); pip install '
      f"'framebridge_jax[gcs]' for gs://, s3fs for s3://"
    ) from None
  except Exception as error:  # noqa: BLE001, each store has its own
    said = ' '.join(f'{type(error).__name__}: {error}'.split())
    raise ValueError(f'{path} cannot be reached ({said[:300]})') from None


def sha256(path: epath.PathLike) -> str:
  """Digest of a file, which is read in pieces."""
  digest = hashlib.sha256()
  with epath.Path(path).open('rb') as file:
    for block in iter(functools.partial(file.read, 1 << 20), b''):
      digest.update(block)
  return digest.hexdigest()


def mark(path: epath.PathLike) -> str:
  """What tells that a file is another one, without reading it."""
  if is_local(path):
    at = os.stat(path)
    numbers = at.st_ino, at.st_size, at.st_mtime_ns, at.st_ctime_ns
  else:
    at = epath.Path(path).stat()
    numbers = at.length, at.mtime
  return f'{absolute(path)} {" ".join(map(str, numbers))}'


@contextlib.contextmanager
def replacing(path: epath.PathLike) -> Iterator[pathlib.Path]:
  """Gives a path of this machine; in the end its file takes the target's place.

  When the block raises, the target stays as it was and nothing is left behind.
  """
  if not is_local(path):
    with tempfile.TemporaryDirectory() as folder:
      part = pathlib.Path(folder) / epath.Path(path).name
      yield part
      put(part, path)
    return
  path = pathlib.Path(path)
  # Threads share a process, and containers may share a number of one.
  part = path.with_name(f'.{path.name}.{uuid.uuid4().hex[:12]}.part')
  try:
    yield part
    os.replace(part, path)
  finally:
    part.unlink(missing_ok=True)


@contextlib.contextmanager
def at_hand(path: epath.PathLike) -> Iterator[pathlib.Path]:
  """The file or folder as one of this machine; a copy if it is elsewhere.

  Of a folder elsewhere its files are copied, and none of its sub-folders.
  """
  if is_local(path):
    yield pathlib.Path(path)
    return
  source = epath.Path(path)
  with tempfile.TemporaryDirectory() as folder:
    target = pathlib.Path(folder) / source.name
    if source.is_dir():
      target.mkdir()
      for item in source.iterdir():
        if not item.is_dir():
          item.copy(target / item.name)
    elif source.exists():
      source.copy(target)
    yield target


def put(source: pathlib.Path, target: epath.PathLike) -> None:
  """Copies a file, or a folder with all that is in it, to a path."""
  if not source.is_dir():
    epath.Path(source).copy(target, overwrite=True)
    return
  epath.Path(target).mkdir(parents=True, exist_ok=True)
  for item in source.iterdir():
    put(item, epath.Path(target) / item.name)


class Outbox:
  """A folder of this machine that stands for the user's.

  For a user's folder on this machine it is that folder.  For one in a bucket
  it is a temporary one, whose files are brought there now and then: objects
  cannot be appended to, and a log that grows is written whole every time.

  Attributes:
    folder: to write to.
  """

  def __init__(self, target: epath.PathLike):
    self._target = epath.Path(target)
    self._brought: dict[pathlib.Path, tuple[int, int]] = {}
    self._last = 0.0
    self._away = not is_local(target)
    self.folder = pathlib.Path(
      tempfile.mkdtemp() if self._away else os.fspath(self._target)
    )

  def fetch(self, name: str) -> None:
    """Brings a file of the user's folder here, to be gone on with."""
    if self._away and (self._target / name).exists():
      (self._target / name).copy(self.folder / name, overwrite=True)

  def bring(self, *, now: bool = False) -> None:
    """Takes what has changed there; not oftener than every `PAUSE` seconds.

    Args:
      now: whether it is taken in any case.
    """
    if not self._away or (not now and time.monotonic() < self._last + PAUSE):
      return
    for path in sorted(self.folder.rglob('*')):
      if path.is_dir():
        continue
      stat = path.stat()
      seen = stat.st_size, stat.st_mtime_ns
      if self._brought.get(path) != seen:
        target = self._target / path.relative_to(self.folder).as_posix()
        target.parent.mkdir(parents=True, exist_ok=True)
        put(path, target)
        self._brought[path] = seen
    self._last = time.monotonic()

  def close(self) -> None:
    """Takes everything there, and clears the temporary folder."""
    if self._away:
      self.bring(now=True)
      shutil.rmtree(self.folder, ignore_errors=True)


PAUSE = 60.0  # seconds
SCHEMES = ('gs', 'gcs', 's3', 'az', 'hf')
