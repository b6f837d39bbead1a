"""Class probabilities of C3D on UCF101, for the inception score.

The field uses StyleGAN-V's TorchScript file, a copy of TGAN2's network.  It
takes bytes [b, 3, f, h, w], brings them to its own size and mean, and gives
probabilities of 101 classes.  The file is a program, and PyTorch runs it: give
one that you trust.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from etils import epath

from framebridge_jax.evaluation import measures
from framebridge_jax.evaluation.adapters import extras

FRAMES = 16
_VERSION = 'c3d 1'


def make(path: epath.PathLike) -> measures.Measure:
  """Measures probabilities with `c3d_ucf101.pt`.

  Raises:
    extras.MissingError: PyTorch is not installed.
    ValueError: the file is no TorchScript.
  """
  torch = extras.library('torch', 'is', 'torch')
  device = 'cuda' if torch.cuda.is_available() else 'cpu'
  try:
    network = torch.jit.load(str(path), map_location=device).eval()
  except RuntimeError as error:
    raise ValueError(
      f'{path} is no TorchScript file ({str(error).splitlines()[0]}); the '
      f'inception score wants c3d_ucf101.pt of StyleGAN-V'
    ) from None
  digest = extras.digest(path)

  def probabilities(clips: Sequence[measures.Clip]) -> measures.Numbers:
    found = []
    for clip in clips:
      if len(clip.video) != FRAMES:
        raise measures.ClipError(
          f'{clip.name} has {len(clip.video)} frames; is reads {FRAMES}'
        )
      with torch.no_grad():
        x = torch.from_numpy(np.moveaxis(clip.video, -1, 0)[None].copy())
        found.append(network(x.to(device)).float().cpu().numpy()[0])
    return np.stack(found)

  return measures.Measure(
    name='c3d',
    digest=hashlib.sha256(f'{_VERSION} {digest}'.encode()).hexdigest(),
    columns={'probabilities': slice(0, None)},
    run=probabilities,
    least_frames=FRAMES,
    weights=extras.unverified(digest),
  )
