"""How clips are made: settings to objects, and what a model was trained for."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import ml_collections
from absl import logging

from framebridge_jax import build, check
from framebridge_jax.processes import times
from framebridge_jax.samplers import grids
from framebridge_jax.samplers import table as samplers
from framebridge_jax.tasks import generate, making

Config = ml_collections.ConfigDict


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
  """The keys of `--mode=sample` that say how clips are made.

  docs/sampling.md says what each is.
  """

  num_steps: int = 20
  sampler: str = 'ancestral'
  grid: str = 'quadratic'
  guidance: float = 7.0
  guidance_rescale: float = 0.0
  guidance_start: float = 0.0
  guidance_stop: float = 1.0
  guidance_history: float = 1.0
  negative_label: int = -1
  temperature: float = 1.0
  start_noise: float = 1.0
  image_noise: float = 0.0
  known_time: float = 0.0
  frame_stride: int = 0
  task_prior: str = ''
  fps: int = 8


def settings_of(values: Mapping[str, Any]) -> Settings:
  """Settings of a config or of a line; what they do not say is the default."""
  names = [field.name for field in dataclasses.fields(Settings)]
  return Settings(**{name: values[name] for name in names if name in values})


def make_style(config: Config, settings: Settings) -> making.Style:
  """The objects that settings name, for a model.

  Raises:
    ValueError: a value is wrong, alone or for this model.
  """
  check.check_values(dataclasses.asdict(settings), 'sample')
  process = build.make_process(config)
  grid = build.make_row(settings.grid, grids.GRIDS, process, settings.num_steps)
  return making.Style(
    sampler=build.make_row(settings.sampler, samplers.SAMPLERS),
    grid=grids.checked(
      grid, settings.grid, process.schedule.T, settings.num_steps
    ),
    num_steps=settings.num_steps,
    guide=generate.Guidance(
      scale=settings.guidance,
      history=settings.guidance_history,
      rescale=settings.guidance_rescale,
      start=settings.guidance_start,
      stop=settings.guidance_stop,
    ),
    motion=generate.Motion(
      temperature=settings.temperature,
      start_noise=settings.start_noise,
      image_noise=settings.image_noise,
      known_time=settings.known_time,
      stride=settings.frame_stride or None,
    ),
    null_label=class_of(config, settings.negative_label, 'negative_label'),
    prior=settings.task_prior
    and build.make_prior(config, settings.task_prior)
    or None,
  )


def class_of(config: Config, label: int, name: str = 'label') -> int:
  """The class of a label; -1 is none, which the null class stands for.

  Raises:
    ValueError: the model has no such class.
  """
  classes = config.model.classes
  if classes == 0:
    return 0  # no table of classes: it is not looked at
  if not -1 <= label < classes:
    raise ValueError(
      f'{name} is {label}, the model has classes 0 to {classes - 1}; -1 means '
      f'no class'
    )
  return classes if label < 0 else label


def adapted(
  config: Config, *, dtype: str = '', frames: int = 0, size: int = 0
) -> Config:
  """A trained model's config with other frames, or another dtype.

  Args:
    config: that it was trained with.
    dtype: of matrix products; '': the trained one, but float16 where that is
      bfloat16 and the GPU has none.
    frames: of a clip; 0: the trained number.
    size: side of a frame; 0: the trained one.

  Raises:
    ValueError: the network cannot make such frames.
  """
  config = config.copy_and_resolve_references()
  for name, value in (('frames', frames), ('size', size)):
    trained = config.data[name]
    if value and value != trained:
      logging.warning(
        'The model was trained with %s %d and is to make %d: expect less',
        name,
        trained,
        value,
      )
      config.data[name] = value
  config.dtype = dtype or _dtype_here(config.dtype)
  if config.dtype not in build.COMPUTE_DTYPES:
    known = ', '.join(build.COMPUTE_DTYPES)
    raise ValueError(f'dtype is {dtype!r}, want one of {known}')
  _check_size(config)
  return config


def unmet(config: Config, known: tuple[int, ...]) -> str:
  """A sentence if training never met such known frames; '' if it did."""
  mix = [name for name, weight in config.task_mix.items() if weight]
  if any(times.MEETS[name](known, config.data.frames) for name in mix):
    return ''
  own_times = config.process.name == 'diffusion' and config.times.p_frames
  if own_times:
    return ''  # FVDM: frames at any times, 0 nearly among them
  shown = ' '.join(map(str, known)) or 'none'
  return (
    f'the model was trained with known frames of {", ".join(mix)} and is '
    f'given {shown} of {config.data.frames}: expect less'
  )


def _check_size(config):
  size = config.data.size
  _, side, _, _ = build.make_codec(config).latent_shape(
    config.data.frames, size
  )
  patch = build.make_network(config.model, config.dtype).patch
  if side % patch:
    step = patch * size // side
    raise ValueError(
      f'size {size} gives latents of side {side}, which is not a multiple of '
      f'the patch {patch}; use {size // step * step} or '
      f'{(size // step + 1) * step}'
    )


def _dtype_here(trained):
  """Turing GPUs, such as the T4, multiply float16 and not bfloat16."""
  if trained == 'bfloat16' and any(_old(x) for x in jax.devices()):
    logging.warning('This GPU has no bfloat16; float16 is computed with')
    return 'float16'
  return trained


def _old(device) -> bool:
  version = getattr(device, 'compute_capability', None)
  return device.platform == 'gpu' and float(version or _AMPERE) < _AMPERE


_AMPERE = 8.0
