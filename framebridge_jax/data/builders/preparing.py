"""Preparing a data set of TFDS, on this machine or in a bucket."""

import os
import pathlib
import tempfile
from collections.abc import Callable
from typing import TypeVar

import tensorflow_datasets as tfds
from etils import epath

from framebridge_jax import files

Builder = TypeVar('Builder', bound=tfds.core.DatasetBuilder)

_LAST = 'dataset_info.json'  # where it is, all of a data set is


def prepared(
  make: Callable[[str], Builder], data_dir: epath.PathLike
) -> Builder:
  """The builder of a data set that is prepared unless it was before.

  ArrayRecords are written to local disks alone, and read anywhere.  So a data
  set for a bucket is prepared in a temporary folder and copied.  Preparing
  writes to a folder of its own first: after an interruption it begins anew.

  Args:
    make: makes a builder for a folder of data sets.
    data_dir: that folder.
  """
  builder = make(os.fspath(data_dir))
  if files.is_local(data_dir):
    builder.download_and_prepare()
    return builder
  target = epath.Path(builder.data_path)
  if (target / _LAST).exists():
    return builder
  with tempfile.TemporaryDirectory() as folder:
    here = make(folder)
    here.download_and_prepare()
    source = pathlib.Path(here.data_path)
    for path in sorted(source.iterdir(), key=lambda path: path.name == _LAST):
      files.put(path, target / path.name)
  return make(os.fspath(data_dir))  # which now finds its description
