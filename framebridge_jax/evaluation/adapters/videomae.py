"""The features of CD-FVD (Ge et al. 2024) through its own library, `cdfvd`.

VideoMAE-v2 giant, fine-tuned on Something-Something v2: 16 frames of 224 x 224,
1,408 features.  The library's code and weights run in PyTorch, on a GPU where
there is one.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from etils import epath

from framebridge_jax.evaluation import measures
from framebridge_jax.evaluation.adapters import extras

FRAMES = 16
_VERSION = 'videomae 1'


def make(path: epath.PathLike) -> measures.Measure:
  """Measures features with the weights `vit_g_hybrid_pt_1200e_ssv2_ft.pth`.

  Raises:
    extras.MissingError: PyTorch or `cdfvd` is not installed.
  """
  torch = extras.library('torch', 'cd_fvd', 'torch torchvision')
  library = extras.library(
    'cdfvd.third_party.VideoMAEv2.utils', 'cd_fvd', 'cd-fvd==0.1.1'
  )
  device = 'cuda' if torch.cuda.is_available() else 'cpu'
  model = library.load_videomae_model(torch.device(device), str(path)).eval()
  return of_model(model, library.preprocess_videomae, extras.digest(path))


def of_model(model: Any, prepare: Any, digest: str) -> measures.Measure:
  """Measures features of a loaded network.

  Args:
    model: has `forward_features`.
    prepare: from uint8 clips [b, f, h, w, c] to its input.
    digest: of its weights.
  """
  import torch

  where = next(model.parameters())

  def features(clips: Sequence[measures.Clip]) -> measures.Numbers:
    found = []
    for clip in clips:
      if len(clip.video) != FRAMES:
        raise measures.ClipError(
          f'{clip.name} has {len(clip.video)} frames; cd_fvd reads {FRAMES}'
        )
      with torch.no_grad():
        x = prepare(clip.video[None]).to(where.device, where.dtype)
        found.append(model.forward_features(x).float().cpu().numpy()[0])
    return np.stack(found)

  return measures.Measure(
    name='videomae',
    digest=hashlib.sha256(f'{_VERSION} {digest}'.encode()).hexdigest(),
    columns={'features': slice(0, None)},
    run=features,
    least_frames=FRAMES,
    weights=extras.unverified(digest),
  )
