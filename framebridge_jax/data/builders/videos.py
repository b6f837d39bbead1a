"""What prepared data sets of encoded videos share.

A record keeps the bytes of a video file unchanged, with its class, its captions
and what one whole pass over it found.  So preparing costs one decode a file and
no quality, every size and stride can be read later, and a damaged file is left
out before training begins.

A data set is a subclass that says what there is:

    class Waves(videos.Videos):
      VERSION = tfds.core.Version('1.0.0')
      RELEASE_NOTES = {'1.0.0': 'First release.'}

      def _find(self, folder):
        return videos.Found(
          class_names=('calm', 'storm'),
          splits={
            'train': [
              videos.Item(
                name='sea/1.mp4',
                read=(folder / 'sea/1.mp4').read_bytes,
                label=1,
                captions=('a storm at sea',),
              )
            ]
          },
        )

    records = videos.open_records(
      Waves,
      videos.Config(name='default', folder='/path/to/waves'),
      'train',
      data_dir='/path/to/prepared',
    )

`read` may as well draw a clip and encode it.  It is called in a few threads at
once; a subclass whose `read` must stay in one thread, as OpenGL wants, sets
`THREADS = 1`.  More numbers a record go into `Item.extra` and, by name and
type, into `EXTRA`.
"""

import collections
import concurrent.futures
import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from absl import logging
from etils import epath

from framebridge_jax.data import overview
from framebridge_jax.data.builders import preparing, video_records

NAMED = 20  # of what is lost, that are named one by one

Item = video_records.Item


@dataclasses.dataclass(eq=False, kw_only=True)
class Config(tfds.core.BuilderConfig):
  """Which variant of a data set, and from where.

  Attributes:
    folder: of the files that were downloaded, '' where there are none.
    max_bad_fraction: of the files, that may be absent or damaged.
  """

  folder: str = ''
  max_bad_fraction: float = 0.0


class Found(NamedTuple):
  """What a data set holds, before any video was opened.

  Attributes:
    class_names: in the order of their numbers.
    splits: videos by the name of their split.
    lost: reason by name, by split, of what a list promises and is not there.
  """

  class_names: tuple[str, ...]
  splits: Mapping[str, Sequence[Item]]
  lost: Mapping[str, Mapping[str, str]] = {}


def make_config(*, folder: str, max_bad_fraction: float) -> Config:
  """Of a data set that has one variant."""
  return Config(
    name='default', folder=folder, max_bad_fraction=max_bad_fraction
  )


def open_records(
  builder_class: type['Videos'],
  config: Config,
  split: str,
  *,
  data_dir: str | os.PathLike,
) -> video_records.Records:
  """Prepares a data set unless that was done before, and opens a split.

  Raises:
    ValueError: There is no such split, or it cannot be prepared: the folder is
      not what the data set wants, or too many files are damaged.
  """
  builder = preparing.prepared(
    lambda folder: builder_class(config=config, data_dir=folder), data_dir
  )
  known = sorted(builder.info.splits)
  if split not in known:
    raise ValueError(
      f'{builder.name} has no split {split!r}; known: {", ".join(known)}'
    )
  made_from = builder.info.metadata['folder']
  if config.folder not in ('', made_from):
    raise ValueError(
      f'{builder.data_path} was prepared from {made_from}, not from '
      f'{config.folder}; leave data_dir empty to take it as it is, or remove '
      'it to prepare it anew'
    )
  return video_records.Records(
    builder.as_data_source(split),
    class_names=tuple(builder.info.metadata['class_names']),
    skipped=dict(builder.info.metadata['skipped'][split]),
    table=builder.data_path / _table_of(split),
    extra=tuple(builder_class.EXTRA),
  )


class Videos(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """Base of data sets of encoded videos.

  Attributes:
    DOWNLOAD: how a user comes by the folder; '' if the data set needs none.
    THREADS: that read and verify; None: one a core.
    EXTRA: types of further numbers of each record, by name.
  """

  DOWNLOAD = ''
  THREADS: int | None = None
  EXTRA: Mapping[str, Any] = {}

  def __init_subclass__(cls, **kwargs):
    # TFDS has data sets of the same names.
    super().__init_subclass__(skip_registration=True, **kwargs)

  def __init__(self, **kwargs):
    super().__init__(file_format='array_record', **kwargs)

  def _find(self, folder: epath.Path) -> Found:
    """Lists what there is, in an order that does not change.

    Raises:
      ValueError: the folder is not what the data set wants.
    """
    raise NotImplementedError

  def _info(self):
    extra = {key: tfds.features.Scalar(x) for key, x in self.EXTRA.items()}
    return tfds.core.DatasetInfo(
      builder=self,
      features=tfds.features.FeaturesDict(
        {**video_records.features(), **extra}
      ),
      metadata=tfds.core.MetadataDict(),
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager):
    del dl_manager
    folder = self.builder_config.folder
    if self.DOWNLOAD and not (folder and epath.Path(folder).is_dir()):
      raise ValueError(
        f'{self.name} is not prepared yet and data_dir is {folder!r}, no '
        f'folder; {self.DOWNLOAD}'
      )
    found = self._find(epath.Path(folder))
    self.info.metadata.update(
      class_names=list(found.class_names), folder=folder, skipped={}
    )
    skipped = _Skipped(
      self.name,
      sum(map(len, (*found.splits.values(), *found.lost.values()))),
      self.builder_config.max_bad_fraction,
    )
    return {
      split: self._generate_examples(
        split, items, found.lost.get(split, {}), skipped
      )
      for split, items in found.splits.items()
    }

  def _generate_examples(
    self, split, items, lost, skipped
  ) -> Iterator[tuple[int, dict]]:
    reasons, table = {}, []
    for number, (name, reason) in enumerate(lost.items()):
      name = video_records.shown(name)
      reasons[name] = f'{name} {reason}'
      skipped.add(reasons[name], told=number < NAMED)
    if len(lost) > NAMED:
      logging.warning('%s: and %d more', self.name, len(lost) - NAMED)
    rows = _in_order(
      video_records.make_row, items, self.THREADS or os.cpu_count() or 1
    )
    for number, (item, row) in enumerate(zip(items, rows, strict=True)):
      if isinstance(row, str):
        reasons[video_records.shown(item.name)] = row
        skipped.add(row)
      else:
        yield number, row
        table.append([row[name] for name in overview.Table._fields])
    if not table:
      raise ValueError(
        f'{self.name} {split} holds no video that can be read; {self.DOWNLOAD}'
      )
    self.info.metadata['skipped'][split] = reasons
    with (self.data_path / _table_of(split)).open('wb') as file:
      np.save(file, np.array(table, np.float64))


def _table_of(split):
  return f'{split}_table.npy'


class _Skipped:
  """Names and counts what is left out, and ends it when that is too much."""

  def __init__(self, what, count, max_fraction):
    self._what = what
    self._count = count
    self._allowed = int(max_fraction * count)
    self._max_fraction = max_fraction
    self._found = 0

  def add(self, reason, *, told=True):
    if told:
      logging.warning('%s: skipped: %s', self._what, reason)
    self._found += 1
    if self._found <= self._allowed:
      return
    raise ValueError(
      f'{self._what}: more than the share {self._max_fraction} of '
      f'{self._count} files is absent or damaged; the last: {reason}; mend '
      'them, or raise data.max_bad_fraction'
    )


def _in_order(function, items, threads):
  """As `map`, ahead of its reader by a few."""
  with concurrent.futures.ThreadPoolExecutor(threads) as pool:
    waiting = collections.deque()
    try:
      for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > 2 * threads:
          yield waiting.popleft().result()
      while waiting:
        yield waiting.popleft().result()
    finally:
      for future in waiting:
        future.cancel()
