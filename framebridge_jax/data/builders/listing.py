"""Looking for videos in folders: files, and folders of pictures."""

import functools
import re
from collections.abc import Iterable, Iterator, Mapping

from etils import epath

from framebridge_jax import files
from framebridge_jax.data import pictures, video_io
from framebridge_jax.data.builders import video_records, videos


def want(folder: epath.Path, *names: str, download: str) -> None:
  """Refuses a folder that lacks one of the names.

  Raises:
    ValueError: as said; `download` tells what the folder should be.
  """
  missing = [name for name in names if not (folder / name).exists()]
  if missing:
    raise ValueError(
      f'{folder} holds no {" and no ".join(missing)}; {download}'
    )


def clips_below(
  folder: epath.Path, above: frozenset[str] = frozenset()
) -> Iterator[epath.Path]:
  """Video files and folders of pictures, at any depth, in order of names.

  A folder that holds a picture is a clip and is not looked into further.  So
  is an empty one that is named like a video, and reading it fails.  Hidden
  entries, and links to a folder `above`, do not count.
  """
  above |= {files.real(folder)}
  for path in entries(folder):
    named = path.suffix.lower() in video_io.SUFFIXES
    if not path.is_dir():
      if named:
        yield path
    elif files.real(path) in above:
      continue
    elif any(map(is_picture, held := entries(path))) or (named and not held):
      yield path
    else:
      yield from clips_below(path, above)


def files_below(
  folder: epath.Path, above: frozenset[str] = frozenset()
) -> Iterator[epath.Path]:
  """All there is but folders, in order of names; loops are not followed."""
  above |= {files.real(folder)}
  for path in entries(folder):
    if not path.is_dir():
      yield path
    elif files.real(path) not in above:
      yield from files_below(path, above)


def entries(folder: epath.Path) -> list[epath.Path]:
  """What a folder holds, in order of names, without hidden entries."""
  return sorted(x for x in folder.iterdir() if not x.name.startswith('.'))


def is_picture(path: epath.Path) -> bool:
  """Whether its name says so."""
  return path.suffix.lower() in pictures.SUFFIXES


def make_item(
  path: epath.Path,
  folder: epath.Path,
  label: int = 0,
  captions: Iterable[str] = (),
) -> videos.Item:
  """An item of a video file or of a folder of pictures, below `folder`."""
  read = functools.partial(read_folder if path.is_dir() else read_file, path)
  return videos.Item(
    name=path.relative_to(folder).as_posix(),
    read=read,
    label=label,
    captions=tuple(text.strip() for text in captions if text.strip()),
  )


def find_listed(
  class_names: tuple[str, ...],
  wanted: Mapping[str, Mapping[str, tuple[int, tuple[str, ...]]]],
  folder: epath.Path,
) -> videos.Found:
  """What there is of files that lists name; the rest is lost.

  Args:
    class_names: in the order of their numbers.
    wanted: by split, label and captions by the path below the folder.
    folder: of the data set.
  """
  names = [name for listed in wanted.values() for name in listed]
  there = _present(folder, {name.rpartition('/')[0] for name in names})
  return videos.Found(
    class_names=class_names,
    splits={
      split: [
        videos.Item(
          name=name,
          read=functools.partial(read_file, folder / name),
          label=label,
          captions=captions,
        )
        for name, (label, captions) in listed.items()
        if name in there
      ]
      for split, listed in wanted.items()
    },
    lost={
      split: {
        name: 'is listed and absent' for name in listed if name not in there
      }
      for split, listed in wanted.items()
    },
  )


def read_file(path: epath.Path) -> bytes:
  """The bytes of a file that a record can hold.

  Raises:
    video_io.VideoError: It is larger, or no file.
  """
  if not files.is_file(path):
    raise video_io.VideoError(f'{path} is no file; give the path of a video')
  size = path.stat().length
  if size > video_records.MAX_BYTES:
    raise video_io.VideoError(
      f'{path} has {size} bytes; at most {video_records.MAX_BYTES} fit a '
      'record; cut it into parts'
    )
  return path.read_bytes()


def read_folder(path: epath.Path) -> bytes:
  """The pictures of a folder, packed in the order of their numbers.

  Raises:
    video_io.VideoError: There is none.
  """
  frames = sorted(filter(is_picture, entries(path)), key=in_order)
  if not frames:
    raise video_io.VideoError(f'{path} is a folder without a picture')
  return pictures.pack((frame.name, frame.read_bytes()) for frame in frames)


def in_order(path: epath.Path) -> list[tuple[int, str]]:
  """A key by which frame 10 comes behind frame 9."""
  parts = re.split(r'(\d+)', path.name)
  return [(int(x), '') if x.isdecimal() else (-1, x) for x in parts]


def read_text(path: epath.Path) -> str:
  """A text file, whatever bytes it holds."""
  return path.read_bytes().decode('utf-8-sig', 'replace')


def _present(folder, places):
  """Names of files: one look at each sub-folder, not at each file."""
  return {
    f'{place}/{path.name}'
    for place in places
    if (folder / place).is_dir()
    for path in (folder / place).iterdir()
  }
