"""A person's own videos, prepared once: files, folders of frames, tar shards.

    FOLDER/                      or   FOLDER/            or   FOLDER/
      train/waves/a.mp4                 waves/a.mp4             00000.tar
      train/waves/a.txt                 waves/b/0001.jpg ...    00001.tar
      test/fire/c.webm                  fire/c.webm
                                        captions.csv

Classes are the first sub-folders.  Captions are those of a `.txt` beside the
video, a line each, or of `captions.csv` or `captions.jsonl`, whose columns
`file` (the path below FOLDER) and `caption` may name a video more than once.
Where there are sub-folders `train` and `test` these are the splits; else a
tenth of the videos is held out, chosen by their names.
"""

import collections
import csv
import functools
import hashlib
import io
import json
import os
import tarfile

import tensorflow_datasets as tfds
from etils import epath

from framebridge_jax import files
from framebridge_jax.data.builders import listing, tar_shards, videos

TABLES = ('captions.csv', 'captions.jsonl')
NO_CLASS = 'video'
SPLITS = ('train', 'test')
TEST_SHARE = 0.1


def make_config(*, folder: str, max_bad_fraction: float) -> videos.Config:
  """Names a folder by all that is in it: after a change it is another one."""
  content = hashlib.sha256()
  at = epath.Path(folder)
  for path in listing.files_below(at) if at.is_dir() else ():
    stat = path.stat() if files.is_file(path) else None
    mark = f'{stat.length} {stat.mtime}' if stat else 'no file'
    content.update(os.fsencode(f'{path} {mark}\n'))
  return videos.Config(
    name=f'content_{content.hexdigest()[:16]}',
    folder=folder,
    max_bad_fraction=max_bad_fraction,
  )


class PreparedFolder(videos.Videos):
  """Videos of a folder."""

  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES = {'1.0.0': 'First release.'}
  DOWNLOAD = 'give a folder of videos, of folders of frames, or of tar shards'

  def _find(self, folder: epath.Path) -> videos.Found:
    parted = all((folder / split).is_dir() for split in SPLITS)
    lost = collections.defaultdict(dict)
    found = collections.defaultdict(list)
    captions = _captions(folder)
    for split in SPLITS if parted else ['']:
      found[split] = [
        *_in_files(folder / split, folder, captions),
        *_in_shards(folder / split, folder, lost[split or 'train']),
      ]
    names = _class_names(
      folder, [name for x in found.values() for name, _ in x]
    )
    splits = {
      split: [
        item._replace(label=names.index(name or NO_CLASS))
        for name, item in pairs
      ]
      for split, pairs in found.items()
    }
    if not parted:
      splits = _held_out(folder, splits[''])
    return videos.Found(class_names=names, splits=splits, lost=lost)


def _in_files(place, folder, captions):
  """Class names and items of files and of folders of frames."""
  for path in listing.clips_below(place):
    parts = path.relative_to(place).parts
    stem = path.name if path.is_dir() else path.stem
    beside = path.parent / f'{stem}.txt'
    said = captions.get(path.relative_to(folder).as_posix(), ())
    if not said and beside.exists():
      said = listing.read_text(beside).splitlines()
    item = listing.make_item(path, folder, captions=said)
    yield parts[0] if len(parts) > 1 else '', item


def _in_shards(place, folder, lost):
  """The same of tar shards; one that breaks off is told in `lost`."""
  for shard in listing.entries(place):
    if shard.suffix.lower() != '.tar':
      continue
    name = shard.relative_to(folder).as_posix()
    if not files.is_file(shard):
      lost[name] = 'is no file'
      continue
    try:
      for sample in tar_shards.samples(shard):
        item = videos.Item(
          name=f'{name}/{sample.name}',
          read=functools.partial(tar_shards.read, shard, sample.place),
          captions=tuple(x.strip() for x in sample.captions if x.strip()),
        )
        yield sample.class_name, item
    except tarfile.TarError as error:
      lost[name] = f'is damaged: {error}'


def _class_names(folder, found):
  names = sorted(set(found))
  if not names:
    raise ValueError(
      f'{folder} holds no video among its {len(listing.entries(folder))} '
      f'entries; {PreparedFolder.DOWNLOAD}'
    )
  if '' in names and len(names) > 1:
    raise ValueError(
      f'{folder} holds videos beside sub-folders of videos; move all into '
      'sub-folders, one a class, or none'
    )
  return tuple(name or NO_CLASS for name in names)


def _held_out(folder, items):
  """Splits by the digest of names, so that new videos move no old one."""
  if len(items) < 2:
    raise ValueError(
      f'{folder} holds a single video and none can be held out; add another, '
      'part it into train and test, or use dataset=folder'
    )
  places = {item.name: _place(item.name) for item in items}
  test = {name for name, place in places.items() if place < TEST_SHARE}
  if not 0 < len(test) < len(items):
    test = {min(places, key=lambda name: places[name])}
  return {
    'train': [item for item in items if item.name not in test],
    'test': [item for item in items if item.name in test],
  }


def _place(name):
  """A number in [0, 1) that hangs on the name alone."""
  digest = hashlib.sha256(os.fsencode(name)).digest()
  return int.from_bytes(digest[:8]) / 2**64


def _captions(folder) -> dict[str, list[str]]:
  """What the tables of a folder say, by the path of the video."""
  said = collections.defaultdict(list)
  for name in TABLES:
    if (folder / name).exists():
      for row in _rows(folder / name):
        said[row['file']].append(row['caption'])
  return said


def _rows(path):
  text = listing.read_text(path)
  try:
    if path.suffix == '.csv':
      rows = list(csv.DictReader(io.StringIO(text, newline='')))
    else:
      rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    return [
      {key: str(row[key] or '') for key in ('file', 'caption')} for row in rows
    ]
  except (ValueError, TypeError, LookupError) as error:
    raise ValueError(
      f'{path} has a row without file and caption ({error!r}); mend it'
    ) from None


BUILDER = PreparedFolder
