# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # From an image to a video
#
# framebridge_jax animates pictures with a bridge whose frames have times of
# their own. This notebook installs it, looks at what it computes on, animates a
# picture of yours, and shows what else the same model does. The model of the
# package knows one small world: a white handwritten digit that drifts over a
# dark ground. Draw one, or bring a picture of one.
#
# On Colab choose *Runtime, Change runtime type*: T4 GPU, TPU, or CPU. Nothing
# here needs an accelerator; it is only quicker. `launch/colab.py` is the source
# of this file.

# %%
# Installs the package beside the jax that is here, which fits the accelerator.
import importlib.metadata as metadata
import importlib.util
import os
import pathlib
import subprocess
import sys

# Where the package comes from: git+https://..., a wheel, or a folder. A clone
# around this notebook is found by itself.
SOURCE = os.environ.get('FRAMEBRIDGE_SOURCE', '')
here = [pathlib.Path.cwd(), *pathlib.Path.cwd().parents]
SOURCE = SOURCE or next((str(x) for x in here if (x / 'setup.py').exists()), '')

if importlib.util.find_spec('framebridge_jax') is None:
  if not SOURCE:
    raise RuntimeError('set SOURCE to the address of framebridge_jax')
  pins = [
    f'{x.name}=={x.version}'
    for x in metadata.distributions()
    if x.name.lower().startswith(('jax', 'libtpu'))
  ]
  pathlib.Path('jax_pins.txt').write_text('\n'.join(pins))
  command = [sys.executable, '-m', 'pip', 'install', '-q']
  done = subprocess.run([*command, '-c', 'jax_pins.txt', SOURCE])
  if done.returncode:
    raise RuntimeError(
      f'the package does not fit the jax of this runtime ({", ".join(pins)}), '
      f'which is left as it is. Take a newer runtime, or install a jax for '
      f'your accelerator yourself, restart, and run this cell again'
    )

# %%
# Looks at the device, and stops if an accelerator is there and not used.
import glob
import shutil

import jax

ON_CPU = False  # set it to True to go on without the accelerator
TINY = bool(os.environ.get('FRAMEBRIDGE_TINY'))  # for tests: few steps


def accelerator() -> str:
  """What this machine has, whatever JAX sees."""
  if glob.glob('/dev/nvidia[0-9]*') or shutil.which('nvidia-smi'):
    return 'a GPU'
  if glob.glob('/dev/accel*') or 'COLAB_TPU_ADDR' in os.environ:
    return 'a TPU'
  return ''


if jax.default_backend() == 'cpu' and accelerator() and not ON_CPU:
  raise RuntimeError(
    f'this runtime has {accelerator()} and JAX {jax.__version__} sees only the '
    f'CPU: its accelerator plugin is missing or does not fit. Restart the '
    f'runtime; do not install jax over the one that came with it'
  )
STEPS = 2 if TINY else 20
print(jax.devices()[0].device_kind, '| jax', jax.__version__)

# %%
# Loads the model. A model of bfloat16 is computed in float16 on a T4, which has
# no bfloat16; this one is float32 and small enough to stay so.
import numpy as np
from IPython.display import SVG, display
from PIL import Image, ImageDraw, ImageFont

import framebridge_jax

pipeline = framebridge_jax.load('quickstart_base')
print(pipeline.desk.config.dtype, pipeline.desk.weights['sha256'][:12])


# %%
# A picture: uploaded, or a digit that is drawn here.
PICTURE = ''  # a path; '': draws DIGIT
DIGIT = 3


def drawn(digit: int) -> Image.Image:
  """A white digit on a dark ground, a little above and left of the middle."""
  picture = Image.new('RGB', (32, 32), (40, 30, 70))
  pen = ImageDraw.Draw(picture)
  font = ImageFont.load_default(size=16)
  pen.text((6, 5), str(digit), fill='white', font=font, stroke_width=0.5)
  return picture


picture = Image.open(PICTURE) if PICTURE else drawn(DIGIT)
display(picture.resize((128, 128), Image.Resampling.NEAREST))

# %%
# The animation. The first call compiles; the first frame is the picture.
video = pipeline.animate(picture, label=DIGIT, num_steps=STEPS, seed=0)
video.save('animated.mp4')
video

# %%
# What is computed: schedules, the marginal of bridges, the alignment of a
# teacher (SAF), and where each frame stands when in every task.
from framebridge_jax.cli import report_process

for name in ('schedules', 'bridge_marginal', 'saf_alignment', 'time_plans'):
  print(report_process.PLOTS[name].text)
  display(SVG(report_process.PLOTS[name].draw()))

# %%
# The same model between two pictures: first and last frame are known.
last = drawn(DIGIT).transform(
  (32, 32), Image.Transform.AFFINE, (1, 0, -9, 0, 1, -9), fillcolor=(40, 30, 70)
)
between = pipeline.interpolate(picture, last, label=DIGIT, num_steps=STEPS)
between

# %%
# And on and on: windows that know the last four frames of the one before.
longer = pipeline.extend(
  video, frames=28 if TINY else 64, overlap=4, label=DIGIT, num_steps=STEPS
)
longer

# %%
# How much moves: samples of one seed, calm to wild, with a look on the way.
seen = []
for temperature in (0.8, 1.0, 1.1):
  print('temperature', temperature)
  display(
    pipeline.animate(
      picture,
      label=DIGIT,
      num_steps=STEPS,
      temperature=temperature,
      preview=lambda progress: seen.append(progress.video.frames[-1]),
      preview_every=max(STEPS // 4, 1),
    )
  )
Image.fromarray(np.hstack(seen)).resize((32 * 4 * len(seen), 128), 0)
