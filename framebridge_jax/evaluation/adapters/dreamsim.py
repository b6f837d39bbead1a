"""PIC through DreamSim (Fu et al. 2023) and its own library.

1 - DreamSim distance between the given image and a frame, mean over frames.
Where FrameBridge says distance, its figures are this: higher is better.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from etils import epath
from PIL import Image

from framebridge_jax.evaluation import measures
from framebridge_jax.evaluation.adapters import extras

_VERSION = 'dreamsim 1'


def make(folder: epath.PathLike) -> measures.Measure:
  """Measures similarity with the weights of a folder, DreamSim's `cache_dir`.

  Raises:
    extras.MissingError: PyTorch or `dreamsim` is not installed, or the folder
      lacks a file, which the library would download.
  """
  torch = extras.library('torch', 'pic', 'torch torchvision')
  library = extras.library('dreamsim', 'pic', 'dreamsim==0.2.1')
  folder = epath.Path(folder)
  missing = [name for name in ENSEMBLE if not (folder / name).exists()]
  if missing:
    raise extras.MissingError(
      f'{folder} lacks {", ".join(missing)}, which DreamSim would download; '
      f'docs/evaluation.md says where they are from'
    )
  device = 'cuda' if torch.cuda.is_available() else 'cpu'
  model, prepare = library.dreamsim(
    pretrained=True, device=device, cache_dir=str(folder)
  )
  return of_model(model, prepare, extras.digest(folder))


def of_model(
  model: Any, prepare: Callable[[Image.Image], Any], digest: str
) -> measures.Measure:
  """Measures similarity by a loaded model.

  Args:
    model: gives the distance of two pictures.
    prepare: from a Pillow image to its input [1, 3, h, w].
    digest: of its weights.
  """
  import torch

  where = next(model.parameters()).device

  def similarities(clips: Sequence[measures.Clip]) -> measures.Numbers:
    found = []
    for clip in clips:
      assert clip.image is not None  # `needs` says so
      given = prepare(Image.fromarray(clip.image)).to(where)
      with torch.no_grad():
        apart = [
          float(model(given, prepare(Image.fromarray(frame)).to(where)))
          for frame in clip.video
        ]
      found.append([1 - np.mean(apart)])
    return np.array(found)

  return measures.Measure(
    name='dreamsim',
    digest=hashlib.sha256(f'{_VERSION} {digest}'.encode()).hexdigest(),
    columns={'similarity': slice(0, 1)},
    run=similarities,
    needs=('image',),
    weights=extras.unverified(digest),
  )


# What the library looks for before it downloads: its own weights, and what it
# asks torch.hub for.
ENSEMBLE = (
  'facebookresearch_dino_main',
  'checkpoints/dino_vitbase16_pretrain.pth',
  'dino_vitb16_pretrain.pth',
  'open_clip_vitb16_pretrain.pth.tar',
  'clip_vitb16_pretrain.pth.tar',
  'ensemble_lora',
)
