"""Samples of a tar shard as WebDataset and video2dataset write them.

The members of a sample stand one behind the other and share their name up to
its first dot: `00017.mp4`, `00017.txt`, `00017.json`, `00017.cls`.
"""

import functools
import json
import tarfile
from collections.abc import Iterator
from typing import NamedTuple

from etils import epath

from framebridge_jax.data import video_io


class Sample(NamedTuple):
  """A video in a shard.

  Attributes:
    name: of the video's member.
    place: where its bytes begin, and how many there are.
    class_name: what `.cls` says, or the member's folder; '' if neither.
    captions: lines of `.txt`, or `caption` of `.json`.
  """

  name: str
  place: tuple[int, int]
  class_name: str
  captions: tuple[str, ...]


def samples(shard: epath.Path) -> Iterator[Sample]:
  """The samples that hold a video.

  Raises:
    tarfile.TarError: The shard ends early or is none; those before were given.
  """
  with (
    shard.open('rb') as file,
    tarfile.open(fileobj=file, mode='r:') as archive,
  ):
    members: list[tarfile.TarInfo] = []
    for member in filter(tarfile.TarInfo.isreg, archive):
      if members and _key(member) != _key(members[0]):
        yield from _sample(archive, members)
        members = []
      members.append(member)
    yield from _sample(archive, members)


def read(shard: epath.Path, place: tuple[int, int]) -> bytes:
  """The bytes of a sample's video."""
  start, size = place
  with shard.open('rb') as file:
    file.seek(start)
    return file.read(size)


def _key(member):
  folder, _, name = member.name.rpartition('/')
  return folder, name.partition('.')[0]


def _sample(archive, members):
  by_suffix = {'.' + x.name.rpartition('.')[2].lower(): x for x in members}
  text = functools.partial(_text, archive, by_suffix)
  for suffix in video_io.SUFFIXES:
    if suffix in by_suffix:
      video = by_suffix[suffix]
      yield Sample(
        name=video.name,
        place=(video.offset_data, video.size),
        class_name=text('.cls').strip() or _key(video)[0],
        captions=tuple(text('.txt').splitlines()) or _said(text('.json')),
      )
      return


def _text(archive, by_suffix, suffix):
  if suffix not in by_suffix:
    return ''
  return (
    archive.extractfile(by_suffix[suffix]).read().decode('utf-8', 'replace')
  )


def _said(text):
  try:
    caption = json.loads(text or '{}').get('caption')
  except (ValueError, AttributeError):
    return ()
  return (caption,) if isinstance(caption, str) else ()
