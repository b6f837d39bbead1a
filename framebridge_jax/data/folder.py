"""A folder of videos as records: decoded once, then read at random.

Every video is decoded at the first use, resized, and its frames are kept as
one `.npy` file, named by a digest of what it was made from (relative path,
size and time of the file, side in pixels).  So training never decodes, reads
only the frames it asks for, and damage is found before it begins; a changed or
added video is decoded alone, and an interrupted pass goes on where it was.
A frame takes 3 size^2 bytes.  The cache may be deleted at any time.
"""

import concurrent.futures
import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Sequence

import numpy as np
from absl import logging
from etils import epath

from framebridge_jax import files
from framebridge_jax.data import clips, video_io

CACHE_VERSION = 1  # raised whenever the cached pixels change
TEST_SHARE = 0.1
TEST_SHARE_OF_ONE = 0.2
SECONDS_BETWEEN_REPORTS = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clip:
  """Frames `start` to `stop` of a cached video; `name` is its path below."""

  name: str
  label: int
  cached: str
  start: int
  stop: int


@dataclasses.dataclass(frozen=True)
class FolderSource:
  """Clips by number, see `sources.Records`; their frame rate is not known."""

  clips: tuple[Clip, ...]
  class_names: tuple[str, ...]
  skipped: tuple[tuple[str, str], ...] = ()  # names, and reasons

  def __len__(self) -> int:
    return len(self.clips)

  def __getitem__(self, index) -> dict:
    clip = self.clips[index]
    video = np.load(clip.cached, mmap_mode='r')[clip.start : clip.stop]
    return {
      'video': clips.Decoded(video),
      'label': clip.label,
      'caption': '',
      'name': clip.name,
      'fps': 0.0,
    }


def open_folder(
  folder: str | os.PathLike,
  split: str,
  *,
  size: int,
  min_frames: int,
  cache_dir: str | os.PathLike,
) -> FolderSource:
  """Indexes a folder and holds a part of it out for the test split.

  A class is a sub-folder; without sub-folders there is one class.  Files that
  cannot be read, or have fewer than `min_frames` frames, are skipped with a
  warning each.  A tenth of the videos (at least one of two) is the test split,
  chosen by their names; of a single video it is the last fifth, where both
  parts are long enough, and else the whole video again, with a warning.

  Raises:
    ValueError: The folder is missing, mixes videos with sub-folders of videos,
      or holds no usable video; or the cache would not be on this machine.
  """
  folder = epath.Path(folder)
  found = find_videos(folder)
  class_names = tuple(sorted({name for name, _ in found}))
  if not files.is_local(cache_dir):
    raise ValueError(
      f'cache_dir is {cache_dir}; frames of the data set folder are mapped '
      f'into memory, so name a folder of this machine, or use prepared_folder'
    )
  cache = pathlib.Path(cache_dir) / str(size)
  cache.mkdir(parents=True, exist_ok=True)
  paths = [path for _, path in found]
  lengths = _decode_all(folder, paths, size, cache)
  reasons = {
    str(path.relative_to(folder)): _reason(path, length, min_frames)
    for path, length in zip(paths, lengths, strict=True)
  }
  skipped = tuple((name, why) for name, why in reasons.items() if why)
  usable = [
    Clip(
      name=str(path.relative_to(folder)),
      label=class_names.index(name),
      cached=os.fspath(_cached(folder, path, size, cache)),
      start=0,
      stop=length,
    )
    for (name, path), length in zip(found, lengths, strict=True)
    if isinstance(length, int) and length >= min_frames
  ]
  damaged = sum(isinstance(length, str) for length in lengths)
  _report(folder, len(found), len(usable), damaged, min_frames)
  return FolderSource(_split(usable, split, min_frames), class_names, skipped)


def find_videos(folder: epath.Path) -> list[tuple[str, epath.Path]]:
  """Lists (class, path) of a folder, sorted; hidden entries do not count.

  Raises:
    ValueError: The folder is missing, unreadable, mixed, or without videos.
  """
  try:
    direct, below = _direct_and_below(folder)
  except PermissionError as error:
    raise ValueError(
      f'{error.filename} cannot be read ({error.strerror}); change its '
      f'permissions, or give another folder of videos'
    ) from None
  if direct and below:
    raise ValueError(
      f'{folder} holds {len(direct)} videos beside {len(below)} in '
      'sub-folders; move all into sub-folders, one a class, or none'
    )
  if not direct and not below:
    raise ValueError(
      f'{folder} holds no video among its {len(_visible(folder))} entries; '
      f'read are {" ".join(video_io.SUFFIXES)}, there or one folder below'
    )
  return below or [(folder.resolve().name, path) for path in direct]


def _direct_and_below(folder):
  if not folder.is_dir():
    kind = 'a file' if folder.exists() else 'missing'
    raise ValueError(f'{folder} is {kind}; give a folder of videos')
  direct = [path for path in _videos_in(folder) if not path.is_dir()]
  below = [
    (child.name, path)
    for child in _visible(folder)
    if child.is_dir()
    for path in _videos_in(child)
  ]
  return direct, below


def _visible(folder):
  return sorted(p for p in folder.iterdir() if not p.name.startswith('.'))


def _videos_in(folder):
  """What is named like a video; decoding tells of what is none."""
  return [
    path
    for path in _visible(folder)
    if path.suffix.lower() in video_io.SUFFIXES
  ]


def _decode_all(folder, paths, size, cache) -> list[int | str]:
  """Lengths in frames, or why a video cannot be read."""
  # Threads are enough: decoding and resizing let go of the interpreter lock.
  with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    targets = [_cached(folder, path, size, cache) for path in paths]
    lengths = []
    for length in pool.map(_decode, paths, targets, [size] * len(paths)):
      lengths.append(length)
      logging.log_every_n_seconds(
        logging.INFO,
        'decoded %d of %d videos',
        SECONDS_BETWEEN_REPORTS,
        len(lengths),
        len(paths),
      )
  return lengths


def _cached(folder, path, size, cache) -> pathlib.Path:
  if not files.is_file(path):
    return cache / 'no_file.npy'  # never written: decoding refuses it
  stat = path.stat()
  made_from = (
    CACHE_VERSION,
    path.relative_to(folder).as_posix(),
    stat.length,
    stat.mtime,
    size,
  )
  digest = hashlib.sha256(repr(made_from).encode()).hexdigest()
  return cache / f'{digest[:32]}.npy'


def _decode(path, target, size) -> int | str:
  """Frames of the video in the cache, put there unless they are; or why not."""
  if not target.exists():
    try:
      frames = [
        clips.resize_crop(frame, size) for frame in video_io.iter_frames(path)
      ]
    except video_io.VideoError as error:
      return str(error)
    with files.replacing(target) as part, part.open('wb') as file:
      np.save(file, np.stack(frames))
  return len(np.load(target, mmap_mode='r'))


def _reason(path, length, min_frames):
  """Why a video is skipped, which is said; '' for one that is not."""
  if isinstance(length, str):
    reason = length
  elif length < min_frames:
    reason = f'{path} has {length} frames, needed are {min_frames}'
  else:
    return ''
  logging.warning('skipped: %s', reason)
  return reason


def _report(folder, found, usable, damaged, min_frames):
  short = found - usable - damaged
  summary = (
    f'{folder}: {usable} of {found} videos are usable; {damaged} cannot be '
    f'read and {short} have fewer than {min_frames} frames'
  )
  if not usable:
    raise ValueError(
      f'{summary}; read are {" ".join(video_io.SUFFIXES)}; check the files, '
      'or lower frames or stride'
    )
  # Half a folder lost is rather a wrong setting than a few bad files.
  loud = 2 * usable < found
  logging.log(
    logging.ERROR if loud else logging.INFO,
    '%s%s',
    'MORE THAN HALF OF THE VIDEOS ARE SKIPPED. ' if loud else '',
    summary,
  )


def _split(usable: Sequence[Clip], split, min_frames) -> tuple[Clip, ...]:
  if len(usable) == 1:
    return (_split_one(usable[0], split, min_frames),)
  ranked = sorted(usable, key=lambda clip: _digest(clip.name))
  held_out = set(ranked[: max(1, round(TEST_SHARE * len(ranked)))])
  return tuple(c for c in usable if (c in held_out) == (split == 'test'))


def _split_one(clip, split, min_frames):
  cut = clip.stop - round(TEST_SHARE_OF_ONE * clip.stop)
  if min(cut, clip.stop - cut) < min_frames:
    logging.warning(
      '%s is the only video and too short to hold frames out (%d frames); '
      'the test split shows what is trained on',
      clip.name,
      clip.stop,
    )
    return clip
  if split == 'test':
    return dataclasses.replace(clip, start=cut)
  return dataclasses.replace(clip, stop=cut)


def _digest(name):
  return hashlib.sha256(os.fsencode(name)).digest()
