"""Libraries that only some scores need, imported where they are used."""

import hashlib
import importlib
from collections.abc import Iterator
from types import ModuleType

from etils import epath

from framebridge_jax import files


class MissingError(ValueError):
  """A score needs a library or a file that is not there."""


def library(name: str, score: str, install: str) -> ModuleType:
  """Imports a library.

  Args:
    name: of the module.
    score: what needs it.
    install: what follows `pip install`.

  Raises:
    MissingError: it is not installed, or cannot be imported.
  """
  try:
    return importlib.import_module(name)
  except ImportError as error:
    reason = error
  # An extension built for another release of PyTorch fails in its own ways.
  except (RuntimeError, OSError) as error:
    reason = error
  raise MissingError(
    f'{score} needs the library {name.partition(".")[0]}, which cannot be '
    f'imported ({reason}); pip install {install}'
  )


def file(path: str, score: str, key: str, what: str) -> epath.Path:
  """The path of a weight file that the user gave.

  Raises:
    MissingError: there is none.
  """
  if not path:
    raise MissingError(f'{score} needs {what}; set --config.{key}')
  if not epath.Path(path).exists():
    raise MissingError(
      f'{key} is {path!r}, and nothing is there; {score} needs {what}'
    )
  return epath.Path(path)


def on_disk(path: epath.PathLike, score: str) -> epath.Path:
  """The path itself.

  Raises:
    MissingError: it is in a bucket, where PyTorch cannot read it.
  """
  if not files.is_local(path):
    raise MissingError(
      f'{score} reads {path} through PyTorch, which wants a file of this '
      f'machine; copy it here'
    )
  return epath.Path(path)


def digest(path: epath.PathLike) -> str:
  """SHA-256 of a file, or of the files of a folder in the order of names."""
  total = hashlib.sha256()
  for one in _files_of(epath.Path(path)):
    total.update(bytes.fromhex(files.sha256(one)))
  return total.hexdigest()


def unverified(digest: str) -> str:
  """What is said of weights that were not at hand when this was written."""
  return f'not verified with published weights (sha256 {digest[:16]})'


def _files_of(path: epath.Path) -> Iterator[epath.Path]:
  if not path.is_dir():
    yield path
    return
  for entry in sorted(path.iterdir()):
    yield from _files_of(entry)
