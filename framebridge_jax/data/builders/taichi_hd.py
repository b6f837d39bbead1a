"""Tai-Chi-HD: people who do Tai Chi (Siarohin et al., 2019).

    FOLDER/
      train/VIDEO#START#END.mp4 ...     files, or folders of frames
      test/VIDEO#START#END.mp4 ...

as `load_videos.py` of https://github.com/AliaksandrSiarohin/video-preprocessing
leaves them, with `--format .mp4` or `.png`.
"""

import tensorflow_datasets as tfds
from etils import epath

from framebridge_jax.data.builders import listing, videos


class TaichiHd(videos.Videos):
  """The official splits."""

  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES = {'1.0.0': 'First release.'}
  DOWNLOAD = (
    'let load_videos.py of '
    'https://github.com/AliaksandrSiarohin/video-preprocessing download it and '
    'give its out_folder, which holds train and test, as data_dir'
  )

  def _find(self, folder: epath.Path) -> videos.Found:
    listing.want(folder, 'train', 'test', download=self.DOWNLOAD)
    return videos.Found(
      class_names=('taichi',),
      splits={
        split: [
          listing.make_item(path, folder)
          for path in listing.clips_below(folder / split)
        ]
        for split in ('train', 'test')
      },
    )


BUILDER = TaichiHd
make_config = videos.make_config
