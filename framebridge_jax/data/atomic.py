"""Files that appear whole or not at all."""

import contextlib
import os
import pathlib
import uuid
from collections.abc import Iterator


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[pathlib.Path]:
  """Gives a path beside the target that takes its place at the end.

  When the block raises, the target stays as it was and nothing is left behind.
  """
  path = pathlib.Path(path)
  # Threads share a process, and containers may share a number of one.
  part = path.with_name(f'.{path.name}.{uuid.uuid4().hex[:12]}.part')
  try:
    yield part
    os.replace(part, path)
  finally:
    part.unlink(missing_ok=True)
