"""A folder of pictures as one clip: packed unchanged into a zip file.

Nothing is compressed again, and each frame is decoded alone.
"""

import dataclasses
import io
import struct
import zipfile
import zlib
from collections.abc import Iterable, Sequence

import numpy as np

from framebridge_jax.data import clips, encoded, images, video_io

SUFFIXES = ('.jpg', '.jpeg', '.png', '.webp', '.bmp')


def pack(frames: Iterable[tuple[str, bytes]]) -> bytes:
  """Packs picture files, in the order given, by name and content."""
  buffer = io.BytesIO()
  with zipfile.ZipFile(buffer, 'w') as pack:
    for name, data in frames:
      # Without a time, so that the same pictures give the same bytes.
      pack.writestr(zipfile.ZipInfo(name), data)
  return buffer.getvalue()


def is_pack(data: bytes) -> bool:
  """Whether these are the bytes of `pack`, not of a video."""
  return data.startswith((b'PK\x03\x04', b'PK\x05\x06'))


def survey(data: bytes, name: str) -> encoded.Survey:
  """Decodes every picture.

  Raises:
    video_io.VideoError: One is damaged, they differ in size, or there is none.
  """
  shape = None
  with _opened(data, name) as pack:
    names = pack.namelist()
    for frame in names:
      found = _read(pack, frame, name).shape
      if shape not in (None, found):
        raise video_io.VideoError(f'{name} changes its size at {frame}')
      shape = found
  if shape is None:
    raise video_io.VideoError(f'{name} holds no frame')
  height, width, _ = shape
  return encoded.Survey(len(names), 0.0, width, height, ())


@dataclasses.dataclass(frozen=True)
class Pictures:
  """The frames of a pack; `name` is for errors."""

  data: bytes = dataclasses.field(repr=False)
  name: str = 'pictures'

  def __len__(self) -> int:
    with _opened(self.data, self.name) as pack:
      return len(pack.namelist())

  def read(self, indices: Sequence[int], size: int) -> clips.Square:
    """Decodes those frames, see `clips.Frames`.

    Raises:
      video_io.VideoError: They cannot be decoded, or there are fewer.
    """
    with _opened(self.data, self.name) as pack:
      names = pack.namelist()
      if max(indices) >= len(names):
        raise video_io.VideoError(
          f'{self.name} has {len(names)} frames, wanted is {max(indices)}'
        )
      found = [_read(pack, names[index], self.name) for index in indices]
    return np.stack([clips.resize_crop(frame, size) for frame in found])


def _opened(data, name):
  try:
    return zipfile.ZipFile(io.BytesIO(data))
  except DAMAGE as error:
    raise video_io.VideoError(f'{name} is damaged: {error}') from error


def _read(pack, frame, name):
  try:
    return images.decode_image(io.BytesIO(pack.read(frame)), f'{name}/{frame}')
  except images.ImageError as error:
    raise video_io.VideoError(str(error)) from error
  except DAMAGE as error:
    raise video_io.VideoError(f'{name} is damaged: {error}') from error


# What zipfile raises on a damaged file of one kind or another.
DAMAGE = (
  zipfile.BadZipFile,
  zlib.error,
  struct.error,
  OSError,
  EOFError,
  LookupError,
  ValueError,
  RuntimeError,
)
