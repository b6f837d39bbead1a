"""Numbers of clips that were measured before, by the digest of the clip.

A file holds the digests and numbers of a few hundred clips, or of what a minute
brought, and is written once: a killed evaluation goes on where it stopped, and
hosts may share the folder.  It may be deleted at any time.
"""

import collections
import io
import time
import uuid
import zipfile
from collections.abc import Mapping, Sequence

import numpy as np
from absl import logging
from etils import epath

from framebridge_jax import files

_ROWS_A_FILE = 256
_PAUSE = 60.0  # seconds, after which fewer are written


class Cache:
  """A folder of numbers, or memory alone.

  Args:
    folder: where files are kept; None: nothing is kept.
  """

  def __init__(self, folder: epath.PathLike | None = None):
    self._folder = None if folder is None else epath.Path(folder)
    self._known: dict[str, dict[str, np.ndarray]] = {}
    self._fresh = collections.defaultdict(dict)
    self._written = collections.defaultdict(time.monotonic)

  def known(self, measure: str) -> Mapping[str, np.ndarray]:
    """Numbers by clip digest; `add` adds to it."""
    if measure not in self._known:
      self._known[measure] = dict(self._read(measure))
    return self._known[measure]

  def add(self, measure: str, clips: Sequence[str], values: np.ndarray) -> None:
    """Keeps a row of numbers for each clip digest."""
    rows = dict(zip(clips, values, strict=True))
    self.known(measure)
    self._known[measure].update(rows)
    self._fresh[measure].update(rows)
    waited = time.monotonic() - self._written[measure]
    if len(self._fresh[measure]) >= _ROWS_A_FILE or waited > _PAUSE:
      self._write(measure)

  def flush(self) -> None:
    """Writes what is not in a file yet."""
    for measure in list(self._fresh):
      self._write(measure)

  def _read(self, measure):
    folder = self._place(measure)
    if folder is None or not folder.exists():
      return
    for path in sorted(folder.glob('*.npz')):
      try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
          yield from zip(file['clips'].tolist(), file['values'], strict=True)
      except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        logging.warning('Left out the damaged %s: %s', path, error)

  def _write(self, measure):
    rows = self._fresh.pop(measure, {})
    folder = self._place(measure)
    if folder is None or not rows:
      return
    buffer = io.BytesIO()
    np.savez(buffer, clips=list(rows), values=np.stack(list(rows.values())))
    folder.mkdir(parents=True, exist_ok=True)
    with files.replacing(folder / f'{uuid.uuid4().hex}.npz') as part:
      part.write_bytes(buffer.getvalue())
    self._written[measure] = time.monotonic()

  def _place(self, measure):
    return None if self._folder is None else self._folder / measure[:16]
