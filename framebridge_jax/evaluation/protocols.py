"""How each benchmark is scored: its real side, its samples, its scores.

Numbers of one protocol may be compared with each other, and with published ones
where the whole row was followed: the set and its split, the windows, the number
of clips, the weights of the network.
"""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol:
  """A benchmark.

  Attributes:
    dataset: the real side, as the config's `dataset`.
    split: of it.
    frames: of a window, on both sides.
    stride: from one frame of a real window to the next.
    size: side of a frame in pixels.
    samples: how many are scored; 0: one for each real clip.
    real: clips of the real side; 0: all.
    metrics: rows of METRICS.
    text: what a sample is asked for: `none`, `class` or `caption`.
    several: futures of a split with several, which `coverage` wants; 0: none.
    follows: what the row is taken from.
  """

  dataset: str
  split: str
  frames: int
  stride: int
  size: int
  samples: int
  real: int
  metrics: tuple[str, ...]
  text: str = 'none'
  several: int = 0
  follows: str = ''


_SCORES = ('fvd', 'motion', 'flicker', 'dynamic')
_DRIFTS = ('level_drift', 'contrast_drift', 'sharpness_drift')
_KEPT = ('first_frame_psnr',)


def _fvdm(dataset: str, text: str = 'none') -> Protocol:
  """FVDM's sets: 2,048 clips of DDIM in 50 steps against the train split."""
  return Protocol(
    dataset=dataset,
    split='train',
    frames=16,
    stride=3,
    size=256,
    samples=2048,
    real=2048,
    metrics=(*_SCORES, *_DRIFTS),
    text=text,
    follows='FVDM Sec. 4, FVD as in StyleGAN-V',
  )


PROTOCOLS = {
  'ucf101': Protocol(
    dataset='ucf101:fold=all',
    split='train',
    frames=16,
    stride=3,
    size=256,
    samples=2048,
    real=0,
    metrics=(*_SCORES, 'is', 'pic', *_KEPT, *_DRIFTS),
    text='class',
    follows='FrameBridge Table 3, D.2',
  ),
  'ucf101_zero_shot': Protocol(
    dataset='ucf101:fold=01',
    split='test',
    frames=16,
    stride=3,
    size=256,
    samples=2048,
    real=2048,
    metrics=(*_SCORES, 'is', 'pic', *_KEPT, *_DRIFTS),
    text='class',
    follows='FrameBridge Table 1, D.2',
  ),
  'msrvtt_zero_shot': Protocol(
    dataset='msrvtt',
    split='test',
    frames=16,
    stride=3,
    size=256,
    samples=0,
    real=0,
    metrics=(*_SCORES, 'cd_fvd', 'clipsim', 'pic', *_KEPT, *_DRIFTS),
    text='caption',
    follows='FrameBridge Tables 1 and 8, D.2',
  ),
  'fvdm_faceforensics': _fvdm('faceforensics'),
  'fvdm_skytimelapse': _fvdm('sky_timelapse'),
  'fvdm_ucf101': _fvdm('ucf101:fold=all', text='class'),
  'fvdm_taichi': _fvdm('taichi_hd'),
  'physics_motion': Protocol(
    dataset='physics_motion:train=8000,test=4000,scenes=64,futures=16',
    split='test',
    frames=16,
    stride=1,
    size=32,
    samples=2000,
    real=2000,
    metrics=(
      'fd_phys',
      'class_accuracy',
      'motion',
      'flicker',
      'dynamic',
      *_KEPT,
      *_DRIFTS,
    ),
    text='class',
    several=8,
    follows='this project',
  ),
}

# Scored by its own command; only samples are written for it.
EXPORTED = ('vbench_i2v',)
NAMES = (*PROTOCOLS, *EXPORTED)
