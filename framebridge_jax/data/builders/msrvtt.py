"""MSR-VTT: 10,000 clips with 20 captions each (Xu et al., 2016).

    FOLDER/
      train_val_videodatainfo.json test_videodatainfo.json
      TrainValVideo/video0.mp4 ... TestVideo/video7010.mp4 ...

Also read: MSRVTT_data.json, which holds both, and videos in `videos`,
`videos/all`, `MSRVTT_Videos` or `all`.  The official page is
https://www.microsoft.com/en-us/research/publication/msr-vtt-a-large-video-description-dataset-for-bridging-video-and-language/.
"""

import collections
import json

import tensorflow_datasets as tfds
from etils import epath

from framebridge_jax.data.builders import listing, videos

TABLES = (
  'train_val_videodatainfo.json',
  'test_videodatainfo.json',
  'MSRVTT_data.json',
)
PLACES = (
  'TrainValVideo',
  'TestVideo',
  'videos/all',
  'videos',
  'MSRVTT_Videos',
  'all',
)
SPLITS = {'train': 'train', 'validate': 'validation', 'test': 'test'}


class Msrvtt(videos.Videos):
  """The official splits: 6,513 to train, 497 to validate, 2,990 to test.

  A clip's class is its category.  All its captions are kept; training draws
  one at every visit.
  """

  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES = {'1.0.0': 'First release.'}
  DOWNLOAD = (
    'put train_val_videodatainfo.json and test_videodatainfo.json (or '
    'MSRVTT_data.json) and the folders TrainValVideo and TestVideo into one '
    'folder, and give it as data_dir'
  )

  def _find(self, folder: epath.Path) -> videos.Found:
    tables = [folder / name for name in TABLES if (folder / name).exists()]
    if not tables:
      raise ValueError(f'{folder} holds no {TABLES[0]}; {self.DOWNLOAD}')
    places = [name for name in PLACES if (folder / name).is_dir()]
    there = {
      path.name: f'{place}/{path.name}'
      for place in places
      for path in listing.entries(folder / place)
    }
    clips: dict[str, tuple[str, int]] = {}
    captions = collections.defaultdict(dict)
    for path in tables:
      found, said = _read(path)
      clips |= found
      for name, caption in said:
        # A dictionary keeps the order, and each caption once.
        captions[name][caption.strip()] = None
    wanted = collections.defaultdict(dict)
    for name, (split, category) in clips.items():
      path = there.get(f'{name}.mp4', f'{PLACES[0]}/{name}.mp4')
      wanted[split][path] = (category, tuple(filter(None, captions[name])))
    return listing.find_listed(CATEGORIES, wanted, folder)


def _read(path):
  """Split and category by the name of a clip; names and captions."""
  try:
    table = json.loads(listing.read_text(path))
    clips = {
      clip['video_id']: (SPLITS[clip['split']], _category(clip['category']))
      for clip in table['videos']
    }
    said = [(said['video_id'], said['caption']) for said in table['sentences']]
  except (ValueError, TypeError, LookupError) as error:
    raise ValueError(
      f'{path} is not the table of the data set ({error!r}); get it anew'
    ) from None
  return clips, said


def _category(number):
  if number not in range(len(CATEGORIES)):
    raise ValueError(f'category {number}')
  return number


CATEGORIES = (
  'music',
  'people',
  'gaming',
  'sports and actions',
  'news, events and politics',
  'education',
  'tv shows',
  'movie and comedy',
  'animation',
  'vehicles and autos',
  'howto',
  'travel',
  'science and technology',
  'animals and pets',
  'kids and family',
  'documentary',
  'food and drink',
  'cooking',
  'beauty and fashion',
  'advertisement',
)


BUILDER = Msrvtt
make_config = videos.make_config
