"""WebVid: stock footage with a caption each (Bain et al., 2021).

    FOLDER/
      results_2M_train.csv results_2M_val.csv     here, or in metadata/
      videos/000001_000050/1066674784.mp4 ...     page_dir/videoid.mp4

The tables (videoid, contentUrl, duration, page_dir, name) were at
https://github.com/m-bain/webvid; the videos are downloaded from contentUrl.
A download by video2dataset, in shards, is a `prepared_folder`.
"""

import csv
import io

import tensorflow_datasets as tfds
from etils import epath

from framebridge_jax.data.builders import listing, videos

CUTS = ('2M', '10M')
VIDEOS = 'videos'
COLUMNS = ('videoid', 'page_dir', 'name')


def make_config(
  *, cut: str, folder: str, max_bad_fraction: float
) -> videos.Config:
  """Names a cut.

  Raises:
    ValueError: There is no such cut.
  """
  if cut not in CUTS:
    raise ValueError(f'cut is {cut!r}, want one of {", ".join(CUTS)}')
  return videos.Config(
    name=f'cut_{cut}', folder=folder, max_bad_fraction=max_bad_fraction
  )


class Webvid(videos.Videos):
  """WebVid-2M or -10M; the test split is the official validation.

  Many videos are gone from the web: those that a table names and that are not
  there count as bad, see `data.max_bad_fraction`.
  """

  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES = {'1.0.0': 'First release.'}
  DOWNLOAD = (
    'put results_2M_train.csv and results_2M_val.csv (or 10M) and the videos '
    'as videos/PAGE_DIR/VIDEOID.mp4 into one folder, and give it as data_dir'
  )

  def _find(self, folder: epath.Path) -> videos.Found:
    cut = self.builder_config.name.removeprefix('cut_')
    tables = {
      'train': f'results_{cut}_train.csv',
      'test': f'results_{cut}_val.csv',
    }
    place = folder / 'metadata'
    place = place if place.is_dir() else folder
    listing.want(folder, VIDEOS, download=self.DOWNLOAD)
    listing.want(place, *tables.values(), download=self.DOWNLOAD)
    wanted = {split: _listed(place / table) for split, table in tables.items()}
    return listing.find_listed(('video',), wanted, folder)


def _listed(path):
  rows = csv.DictReader(io.StringIO(listing.read_text(path), newline=''))
  missing = set(COLUMNS) - set(rows.fieldnames or ())
  if missing:
    raise ValueError(
      f'{path} has no column {", ".join(sorted(missing))}; get it anew'
    )
  return {
    f'{VIDEOS}/{row["page_dir"]}/{row["videoid"]}.mp4': (
      0,
      tuple(filter(None, [(row['name'] or '').strip()])),
    )
    for row in rows
  }


BUILDER = Webvid
