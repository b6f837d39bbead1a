"""What the arms of `latte.py` share: settings, weights, inputs and protocol.

An arm is a process of its own, since XLA reads its flags once and two
libraries in one process would share their threads.  It reads a job's name a
line and answers with a line of JSON: the first time facts about the job,
then seconds.
"""

import dataclasses
import json
import os
import pathlib
import resource
import sys
import time
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

CLASSES, CHANNELS = 101, 4
# Heads are 64 wide, but for XL's 72.
SIZES = {
  'tiny': (64, 2, 1),
  's': (384, 12, 6),
  'b': (768, 12, 12),
  'l': (1024, 24, 16),
  'xl': (1152, 28, 16),
}
JOBS = ('forward', 'train', 'sample')
# How often each part stands in a network of `depth` blocks.
PARTS = {
  'qkv': lambda depth: depth,
  'attention_space': lambda depth: depth // 2,
  'attention_time': lambda depth: depth // 2,
  'out': lambda depth: depth,
  'mlp': lambda depth: depth,
  'norm_gate': lambda depth: 2 * depth,
  'modulation': lambda depth: depth,
}
PART_JOBS = tuple(
  f'{part}/{way}' for part in PARTS for way in ('forward', 'backward')
)
_BRIEF = 0.2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
  """What all arms of one run have in common, and the options of this one.

  Attributes:
    model: a row of SIZES.
    patch: side of a token.
    batch: clips.
    frames: of a clip.
    size: side of a latent.
    device: cpu or gpu.
    dtype: of matrix products.
    steps: of sampling.
    options: the arm's own.
  """

  model: str
  patch: int
  batch: int
  frames: int
  size: int
  device: str
  dtype: str
  steps: int
  options: dict[str, Any]

  @property
  def numbers(self) -> dict[str, int]:
    """Width, depth, heads and patch."""
    width, depth, heads = SIZES[self.model]
    return {
      'width': width,
      'depth': depth,
      'heads': heads,
      'patch': self.patch,
    }

  @property
  def places(self) -> int:
    """Tokens of a frame."""
    return (self.size // self.patch) ** 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
  """A job made ready.

  Attributes:
    run: does it once, to the end.
    answer: what a run gave, as numbers to compare between arms.
    facts: figures that need no repetition; `compile_s` where known.
  """

  run: Callable[[], Any]
  answer: Callable[[Any], np.ndarray]
  facts: dict[str, Any]


def serve(make: Callable[[Settings, str], Case], memory) -> None:
  """Answers jobs from standard input until it ends.

  Args:
    make: from settings and a job's name to a case.
    memory: peak bytes of the device, or None where there is no such count.
  """
  # Whatever a library prints must not be taken for an answer.
  answers = os.fdopen(os.dup(1), 'w')
  os.dup2(2, 1)
  settings, folder = json.loads(sys.argv[1]), pathlib.Path(sys.argv[2])
  settings, cases = Settings(**settings), {}
  for line in sys.stdin:
    job = line.strip()
    if job in cases:
      answer = {'seconds': _timed(*cases[job])}
    else:
      try:
        cases[job], facts = _prepare(make, settings, job, folder)
        answer = {'facts': facts | {'peak_bytes': memory() or _resident()}}
      except Exception as error:  # noqa: BLE001  Memory runs out in many ways.
        answer = {'failed': f'{type(error).__name__}: {error}'[:500]}
    print(json.dumps(answer), file=answers, flush=True)


def _prepare(make, settings, job, folder):
  """Compiles, warms up, and keeps the first answer for comparison."""
  case = make(settings, job)
  start = time.perf_counter()
  first = case.run()
  seconds = time.perf_counter() - start
  np.save(folder / job.replace('/', '_'), case.answer(first))
  again = _timed(case, 1)
  facts = {'compile_s': seconds - again} | case.facts
  repeats = 1 if job in JOBS else max(1, min(50, int(_BRIEF / again)))
  return (case, repeats), facts


def _timed(case, repeats):
  start = time.perf_counter()
  for _ in range(repeats):
    case.run()
  return (time.perf_counter() - start) / repeats


def _resident():
  """Peak of the process's resident memory."""
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
  """A tensor's random values, the same in every arm."""
  rng = np.random.default_rng(zlib.crc32(name.encode()))
  return np.float32(0.02) * rng.standard_normal(shape, np.float32)


def inputs(settings: Settings) -> dict[str, np.ndarray]:
  """Noisy latents and noise `[b, f, h, w, c]`, times and labels `[b]`."""
  rng = np.random.default_rng(0)
  b, side = settings.batch, settings.size
  shape = (b, settings.frames, side, side, CHANNELS)
  return {
    'z': rng.standard_normal(shape, np.float32),
    'noise': rng.standard_normal(shape, np.float32),
    't': rng.integers(0, 1000, b).astype(np.float32),
    'label': rng.integers(0, CLASSES, b).astype(np.int32),
  }


def part_arguments(settings: Settings, part: str) -> list[np.ndarray]:
  """Arguments of a part at the network's shapes; matrices are [in, out].

  Modulations are of each frame, as the library has them; the plain network
  computes them once a clip.
  """
  b, f, n = settings.batch, settings.frames, settings.places
  d = settings.numbers['width']
  shapes = {
    'qkv': [(b, f, n, d), (d, 3 * d), (3 * d,)],
    'attention_space': [(b, f, n, 3 * d)],
    'attention_time': [(b, n, f, 3 * d)],
    'out': [(b, f, n, d), (d, d), (d,)],
    'mlp': [(b, f, n, d), (d, 4 * d), (4 * d,), (4 * d, d), (d,)],
    'norm_gate': [(b, f, n, d)] * 2 + [(b, f, 1, d)] * 3,
    'modulation': [(b, f, 1, d), (d, 6 * d), (6 * d,)],
  }
  rng = np.random.default_rng(0)
  return [
    rng.standard_normal(shape, np.float32)
    * (shape[0] ** -0.5 if len(shape) == 2 else 1)
    for shape in shapes[part]
  ]


def flops(settings: Settings, job: str) -> float:
  """Multiplications and additions of the matrix products, counted by hand.

  A backward pass is twice the forward one; what remat computes anew is not
  counted, nor is anything but matrix products.
  """
  width, depth = settings.numbers['width'], settings.numbers['depth']
  b, f, n = settings.batch, settings.frames, settings.places
  tokens = b * f * n
  # Of each token: 12 width^2 weights, and scores and values over its group.
  layers = depth * tokens * 24 * width**2
  scores = depth // 2 * tokens * 4 * width * (f + n)
  modulations = b * (6 * depth + 2) * 2 * width**2
  pixels = settings.patch**2 * CHANNELS
  ends = tokens * 2 * width * (pixels + 2 * pixels)
  forward = layers + scores + modulations + ends
  return forward * {'forward': 1, 'train': 3, 'sample': settings.steps}[job]
