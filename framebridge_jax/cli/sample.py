"""--mode=sample: animate one image file."""

import ml_collections
import numpy as np
from absl import logging
from etils import epath

from framebridge_jax import check
from framebridge_jax.cli import animate
from framebridge_jax.data import clips, images, video_io
from framebridge_jax.report import sheets


def run(config: ml_collections.ConfigDict, workdir: epath.PathLike) -> None:
  """Writes `samples/NAME.{mp4,gif,png}`, numbered when there are several."""
  workdir = epath.Path(workdir)
  check.check_mode(config, 'sample')
  label = _label(config)
  if not config.image:
    raise ValueError('no image given; set --config.image=photo.png')
  path = epath.Path(config.image)
  image = clips.resize_crop(images.read_image(path), config.data.size)

  animator = animate.open_animator(config, workdir)
  made = animator(
    np.repeat(image[None, None], config.count, axis=0),
    np.full(config.count, label),
    np.arange(config.count),
  )
  name = config.name or path.stem
  for i, clip in enumerate(made):
    stem = name if config.count == 1 else f'{name}_{i}'
    write(workdir / 'samples', stem, clip, fps=config.fps)


def write(folder: epath.PathLike, stem: str, clip: clips.Video, *, fps: int):
  """Writes a clip as mp4, gif and strip of frames."""
  folder = epath.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  zoom = max(1, 256 // clip.shape[1])
  video_io.write_mp4(folder / f'{stem}.mp4', clip, fps, zoom=zoom)
  video_io.write_gif(folder / f'{stem}.gif', clip, fps)
  sheets.write_png(folder / f'{stem}.png', sheets.strip(clip))
  logging.info('Wrote %s/%s.{mp4,gif,png}', folder, stem)


def _label(config):
  """The class to sample; -1 is none, which the null class stands for."""
  if config.model.classes == 0:
    return 0  # no table of classes: it is not looked at
  if config.label >= config.model.classes:
    raise ValueError(
      f'label is {config.label}, the model has classes 0 to '
      f'{config.model.classes - 1}; -1 means no class'
    )
  return config.model.classes if config.label < 0 else config.label
