"""UCF101: 13,320 clips of 101 actions (Soomro et al., 2012).

    FOLDER/
      UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi ...
      ucfTrainTestlist/classInd.txt trainlist01.txt testlist01.txt ...

The first comes from UCF101.rar, the second from
UCF101TrainTestSplits-RecognitionTask.zip, both of
https://www.crcv.ucf.edu/data/UCF101.php.
"""

import tensorflow_datasets as tfds
from etils import epath

from framebridge_jax.data.builders import listing, videos

FOLDS = ('01', '02', '03', 'all')
VIDEOS, LISTS = 'UCF-101', 'ucfTrainTestlist'


def make_config(
  *, fold: str, folder: str, max_bad_fraction: float
) -> videos.Config:
  """Names a fold.

  Raises:
    ValueError: There is no such fold.
  """
  if fold not in FOLDS:
    raise ValueError(f'fold is {fold!r}, want one of {", ".join(FOLDS)}')
  return videos.Config(
    name=f'fold_{fold}', folder=folder, max_bad_fraction=max_bad_fraction
  )


class Ucf101(videos.Videos):
  """One of the three official folds, or `all`.

  `all` trains on every clip, as FrameBridge and others do who generate; its
  test split is that of fold 01, so that it is a part of what is trained on.
  """

  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES = {'1.0.0': 'First release.'}
  DOWNLOAD = (
    f'unpack UCF101.rar and UCF101TrainTestSplits-RecognitionTask.zip of '
    f'https://www.crcv.ucf.edu/data/UCF101.php into one folder, which then '
    f'holds {VIDEOS} and {LISTS}, and give it as data_dir'
  )

  def _find(self, folder: epath.Path) -> videos.Found:
    fold = self.builder_config.name.removeprefix('fold_')
    number = '01' if fold == 'all' else fold
    lists = {
      split: f'{LISTS}/{split}list{number}.txt' for split in ('train', 'test')
    }
    listing.want(
      folder,
      VIDEOS,
      f'{LISTS}/classInd.txt',
      *lists.values(),
      download=self.DOWNLOAD,
    )
    names = _class_names(folder / LISTS / 'classInd.txt')
    wanted = {
      split: _listed(folder / path, names) for split, path in lists.items()
    }
    if fold == 'all':
      wanted['train'] |= wanted['test']
    return listing.find_listed(names, wanted, folder)


def _class_names(path):
  """`1 ApplyEyeMakeup` a line."""
  numbers, names = zip(*_lines(path, 2), strict=True)
  if list(map(int, numbers)) != list(range(1, len(names) + 1)):
    raise ValueError(f'{path} does not count its classes from 1; get it anew')
  return names


def _listed(path, class_names):
  """`ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi`, and 1 where it trains."""
  wanted = {}
  for name, *_ in _lines(path, 1):
    action = name.partition('/')[0]
    if action not in class_names:
      raise ValueError(f'{path} names {name}, of no class of classInd.txt')
    wanted[f'{VIDEOS}/{name}'] = (class_names.index(action), ())
  return wanted


def _lines(path, words):
  """Words of each line that is not blank."""
  lines = [line.split() for line in listing.read_text(path).splitlines()]
  lines = [line for line in lines if line]
  if not lines or any(len(line) < words for line in lines):
    raise ValueError(f'{path} is not the list of the data set; get it anew')
  return lines


BUILDER = Ucf101
