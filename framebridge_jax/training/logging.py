"""Metrics of a run: TensorBoard events, and one line of JSON a step.

TensorBoard gets means over a window (`clu.metrics`); the JSON lines are every
step's own numbers, printed so that they read back bit for bit.
"""

import io
import json
import os
import pathlib
from collections.abc import Mapping, Sequence

import einops
import jax
import numpy as np
import tensorboardX
from clu import metrics as clu_metrics
from PIL import Image
from tensorboardX.proto import summary_pb2

from framebridge_jax.arrays import Pixels


class Logger:
  """Writes a run's metrics under its workdir.

  Lines of steps at or after `first_step` are dropped at the start: a resumed
  run takes those steps again, and the file reads as if it had never stopped.
  """

  def __init__(self, workdir: pathlib.Path, *, first_step: int):
    workdir.mkdir(parents=True, exist_ok=True)
    self.path = workdir / 'metrics.jsonl'
    _truncate(self.path, first_step)
    self._lines = self.path.open('a')
    self._events = tensorboardX.SummaryWriter(
      str(workdir / 'events'),
      purge_step=first_step,
      # Without it a restart within the second would write over the old file.
      filename_suffix=f'.{first_step}',
    )

  def __enter__(self) -> 'Logger':
    return self

  def __exit__(self, *exception) -> None:
    self._lines.close()
    self._events.close()

  def write(
    self,
    steps: Sequence[int],
    scalars: Sequence[Mapping[str, float]],
    window: Mapping[str, float],
  ) -> None:
    """Records a window: each step's scalars, and numbers of the window."""
    for step, values in zip(steps, scalars, strict=True):
      self._lines.write(json.dumps({'step': step, **values}) + '\n')
    self._lines.flush()
    for name, value in {**means(scalars), **window}.items():
      self._events.add_scalar(name, value, steps[-1])
    self._events.flush()

  def write_clip(self, name: str, clip: Pixels, *, fps: int, step: int) -> None:
    """Shows clips [b, f, h, w, c] side by side as a moving picture."""
    rows = einops.rearrange(np.asarray(clip), 'b f h w c -> f h (b w) c')
    frames = [Image.fromarray(row) for row in rows]
    buffer = io.BytesIO()
    frames[0].save(
      buffer,
      'gif',
      save_all=True,
      append_images=frames[1:],
      duration=round(1000 / fps),
      loop=0,
    )
    image = summary_pb2.Summary.Image(
      height=frames[0].height,
      width=frames[0].width,
      colorspace=3,
      encoded_image_string=buffer.getvalue(),
    )
    summary = summary_pb2.Summary(
      value=[summary_pb2.Summary.Value(tag=name, image=image)]
    )
    self._events.file_writer.add_summary(summary, step)


def means(scalars: Sequence[Mapping[str, float]]) -> dict[str, float]:
  """Mean of each scalar over a window of steps."""
  names = scalars[0].keys()
  collection = clu_metrics.Collection.create(
    **{name: clu_metrics.Average.from_output(name) for name in names}
  )
  window = {
    name: np.array([values[name] for values in scalars], np.float32)
    for name in names
  }
  # clu promotes dtypes by itself, which strict promotion would refuse.
  with jax.numpy_dtype_promotion('standard'):
    merged = collection.single_from_model_output(**window).compute()
  return {name: float(value) for name, value in merged.items()}


def read(path: pathlib.Path) -> list[dict[str, float]]:
  """A run's JSON lines; a last line cut short by a kill is left out."""
  lines = path.read_text().split('\n') if path.exists() else []
  return [json.loads(line) for line in lines[:-1]]


def _truncate(path, first_step):
  kept = [line for line in read(path) if line['step'] < first_step]
  temporary = path.with_suffix('.tmp')
  temporary.write_text(''.join(json.dumps(line) + '\n' for line in kept))
  os.replace(temporary, path)
