"""Sky Time-lapse: clouds, as folders of frames (Xiong et al., 2018).

    FOLDER/
      sky_train/VIDEO/CLIP/0001.jpg ...     997 videos cut into 2,392 clips
      sky_test/VIDEO/CLIP/0001.jpg ...      111 videos cut into 225 clips

The archive sky_timelapse.zip is linked from https://github.com/weixiong-ur/mdgan
and https://github.com/zhangzjn/DTVNet.
"""

import tensorflow_datasets as tfds
from etils import epath

from framebridge_jax.data.builders import listing, videos


class SkyTimelapse(videos.Videos):
  """The official splits; clips have 2 to some 100 frames of 640 x 360."""

  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES = {'1.0.0': 'First release.'}
  DOWNLOAD = (
    'unpack sky_timelapse.zip of https://github.com/weixiong-ur/mdgan and give '
    'the folder that holds sky_train and sky_test as data_dir'
  )

  def _find(self, folder: epath.Path) -> videos.Found:
    places = {'train': 'sky_train', 'test': 'sky_test'}
    listing.want(folder, *places.values(), download=self.DOWNLOAD)
    return videos.Found(
      class_names=('sky',),
      splits={
        split: [
          listing.make_item(path, folder)
          for path in listing.clips_below(folder / place)
        ]
        for split, place in places.items()
      },
    )


BUILDER = SkyTimelapse
make_config = videos.make_config
