"""FaceForensics++: people who speak to the camera (Rossler et al., 2019).

    FOLDER/
      original_sequences/youtube/c23/videos/000.mp4 ... 999.mp4
      splits/train.json val.json test.json

The videos come from the script that https://github.com/ondyari/FaceForensics
sends on request (`-d original -c c23 -t videos`), the splits from its folder
dataset/splits.  Papers cut faces out first; such clips are a `prepared_folder`.
"""

import json

import tensorflow_datasets as tfds
from etils import epath

from framebridge_jax.data.builders import listing, videos

COMPRESSIONS = ('c0', 'c23', 'c40')
SPLITS = {'train': 'train', 'validation': 'val', 'test': 'test'}


def make_config(
  *, compression: str, folder: str, max_bad_fraction: float
) -> videos.Config:
  """Names a compression.

  Raises:
    ValueError: There is no such compression.
  """
  if compression not in COMPRESSIONS:
    raise ValueError(
      f'compression is {compression!r}, want one of {", ".join(COMPRESSIONS)}'
    )
  return videos.Config(
    name=compression, folder=folder, max_bad_fraction=max_bad_fraction
  )


class Faceforensics(videos.Videos):
  """The original sequences, not the forged; 720 to train, 140, and 140."""

  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES = {'1.0.0': 'First release.'}
  DOWNLOAD = (
    'ask for the script of https://github.com/ondyari/FaceForensics, download '
    'the original videos, copy its dataset/splits beside original_sequences, '
    'and give the folder that holds both as data_dir'
  )

  def _find(self, folder: epath.Path) -> videos.Found:
    place = f'original_sequences/youtube/{self.builder_config.name}/videos'
    tables = {split: f'splits/{name}.json' for split, name in SPLITS.items()}
    listing.want(folder, place, *tables.values(), download=self.DOWNLOAD)
    wanted = {
      split: _listed(folder / table, place) for split, table in tables.items()
    }
    return listing.find_listed(('face',), wanted, folder)


def _listed(path, place):
  """The table holds pairs: whose face, and on whom it was put."""
  try:
    names = {
      name for pair in json.loads(listing.read_text(path)) for name in pair
    }
  except (ValueError, TypeError):
    raise ValueError(f'{path} is no list of pairs; get it anew') from None
  return {f'{place}/{name}.mp4': (0, ()) for name in sorted(names)}


BUILDER = Faceforensics
