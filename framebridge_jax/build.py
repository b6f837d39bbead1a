"""From a config to objects: the one place where names become things."""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import optax
from etils import epath

from framebridge_jax import arguments, denoiser
from framebridge_jax.data import codec, mixture, pipeline, sources, visits
from framebridge_jax.models import latte
from framebridge_jax.porting import family
from framebridge_jax.processes import (
  clocks,
  predictions,
  priors,
  saf,
  sde,
  views,
)
from framebridge_jax.processes import table as processes
from framebridge_jax.samplers import grids, loop
from framebridge_jax.samplers import table as samplers
from framebridge_jax.tasks import generate, plans
from framebridge_jax.training import (
  freezing,
  lora,
  optimizers,
  retention,
  step,
)

Config = ml_collections.ConfigDict
Batch = Mapping[str, Any]

ASSETS = pathlib.Path(__file__).parent / 'assets'
WEIGHTS = {'quickstart_base': ASSETS / 'quickstart_base.safetensors'}
AS_FOUND = -1  # classes: as many as the data have
NEURAL = 'neural'  # the prior that a network predicts
DTYPES = {'float32': jnp.float32, 'bfloat16': jnp.bfloat16}
# Gradients underflow in float16: it is for sampling alone.
COMPUTE_DTYPES = {**DTYPES, 'float16': jnp.float16}


def make_codec(config: Config) -> codec.Codec:
  """The codec between pixels and latents."""
  return make_row(config.codec, codec.CODECS)


def make_ahead(config: Config) -> Callable[[Batch], Batch]:
  """What the codec does to a placed batch before it is stepped on."""
  ahead = make_codec(config).ahead
  return lambda batch: {**batch, 'video': ahead(batch['video'])}


def make_row(text: str, table: Mapping[str, Callable[..., Any]], *args) -> Any:
  """Calls the row that `name:key=value` names, with its options.

  Raises:
    ValueError: the row or an option is unknown, or the row refuses it.
  """
  row, options = arguments.parse_row(text, table)
  return row(*args, **options)


def make_process(config: Config) -> sde.Process:
  """A row of PROCESSES over a row of SCHEDULES.

  Raises:
    ValueError: the process refuses the schedule.
  """
  schedule = make_row(config.process.schedule, processes.SCHEDULES)
  return processes.PROCESSES[config.process.name](schedule=schedule)


def make_view(config: Config) -> views.MakeView:
  """What the network is shown; `aligned` reads two keys more."""
  if config.denoiser.view != 'aligned':
    return views.VIEWS[config.denoiser.view]
  return saf.Aligned(
    teacher=make_row(config.denoiser.teacher, processes.SCHEDULES),
    lookup=make_row(config.denoiser.lookup, saf.LOOKUPS),
  )


def make_network(model: Config, dtype: str) -> latte.Latte:
  """A row of MODELS with its options, hashable as JSON's lists are not."""
  options = family.hashable(dict(model.items()))
  return latte.MODELS[options.pop('name')](
    **options, dtype=COMPUTE_DTYPES[dtype]
  )


def make_conditioning(config: Config) -> denoiser.Conditioning:
  """What the prior and the network's channels are made of."""
  shown = config.denoiser.shown
  return denoiser.Conditioning(
    prior=make_prior(config, config.prior),
    shown=make_prior(config, shown) if shown else None,
    stride=config.data.stride if config.model.get('stride') else None,
  )


def make_prior(config: Config, name: str) -> denoiser.MakePrior:
  """A row of PRIORS, or the network that predicts it.

  Raises:
    ValueError: there is no such network.
  """
  if name != NEURAL:
    return denoiser.Formula(prior=priors.PRIORS[name])
  if 'prior_model' not in config:
    raise ValueError('the prior is neural and this model has no prior_model')
  network = make_network(config.prior_model, config.dtype)
  return denoiser.Neural(network=network)


def make_denoiser(config: Config) -> denoiser.Denoiser:
  """Network, process and prediction, joined."""
  return denoiser.Denoiser(
    network=make_network(config.model, config.dtype),
    process=make_process(config),
    prediction=predictions.PREDICTIONS[config.denoiser.prediction],
    view=make_view(config),
    clock=make_row(config.denoiser.clock, clocks.CLOCKS),
  )


def make_source(
  config: Config, split: str, workdir: epath.PathLike
) -> sources.Source:
  """The split of the data set, or of several mixed; prepared if need be."""
  # Other modes' configs have fewer keys than training's.
  share = config.data.get('max_bad_fraction', sources.MAX_BAD_FRACTION)
  asked = sources.parse(config.dataset)
  found = {
    place.name: sources.open_source(
      row.name,
      split,
      data_dir=cache_dir(config, workdir),
      size=config.data.size,
      frames=config.data.frames,
      stride=config.data.stride,
      path=place.path,
      max_bad_fraction=share,
      options={**_source_options(config, row.name), **row.options},
    )
    for row, place in zip(asked, data_places(config), strict=True)
  }
  if len(found) == 1:
    return found.popitem()[1]
  return mixture.mix(found, tuple(config.data.get('weights', ())))


class DataPlace(NamedTuple):
  """What a data set of a config is called, and where its files are."""

  name: str
  path: str


def data_places(config: Config) -> list[DataPlace]:
  """Of each data set of `dataset`; of a mixture, `data_dir` has several.

  Raises:
    ValueError: It has another number of them.
  """
  names = [row.name for row in sources.parse(config.dataset)]
  if len(names) == 1:
    return [DataPlace(names[0], config.data_dir)]
  paths = config.data_dir.split(',') if config.data_dir else [''] * len(names)
  if len(paths) != len(names):
    raise ValueError(
      f'dataset {config.dataset!r} mixes {len(names)} data sets and data_dir '
      f'{config.data_dir!r} names {len(paths)} folders; give one for each, '
      f"apart by commas, or '' for all"
    )
  return [
    # The same data set may be mixed of two folders.
    DataPlace(name if names.count(name) == 1 else f'{name}{i}', path)
    for i, (name, path) in enumerate(zip(names, paths, strict=True))
  ]


def open_batches(
  config: Config, source: sources.Source, start: int
) -> pipeline.Batches:
  """Batches of this host, from number `start` on."""
  data = config.data
  return pipeline.batches(
    source,
    visits.Look(
      size=data.size,
      frames=data.frames,
      stride=data.stride,
      max_stride=data.max_stride,
      flip=data.flip,
      draw=data.draw,
      text=bool(config.model.get('text_width')),
      caption_dropout=data.caption_dropout,
    ),
    seed=config.seed,
    batch_size=config.train.batch_size,
    start=start,
    max_bad_fraction=data.max_bad_fraction,
    reading=pipeline.Reading(
      num_workers=data.num_workers,
      prefetch=data.prefetch,
      shard=jax.process_index(),
      num_shards=jax.process_count(),
    ),
  )


def cache_dir(config: Config, workdir: epath.PathLike) -> epath.Path:
  """Where prepared data stand; the workdir's own folder by default."""
  workdir = epath.Path(workdir)
  return epath.Path(config.cache_dir or workdir / 'data')


def _source_options(config, name):
  """Options that a config has keys for."""
  if name != 'moving_digits':
    return {}
  return {
    'world': config.data.world,
    'train': config.data.train_clips,
    'test': config.data.test_clips,
  }


def make_optimizer(config: Config) -> optax.GradientTransformation:
  """A row of OPTIMIZERS with clipping and a learning-rate schedule."""
  return optimizers.make(
    optimizers.Recipe(
      **{**config.optimizer, 'freeze': _frozen(config)},
      num_steps=config.train.num_steps,
    )
  )


def make_frozen(config: Config) -> freezing.Frozen:
  """Which parameters stay as they are, as the optimizer knows too."""
  return freezing.matching(_frozen(config))


def _frozen(config):
  adapted = make_lora(config)
  patterns = config.optimizer.freeze, adapted.frozen if adapted else ''
  return '|'.join(f'(?:{x})' for x in patterns if x)


def make_lora(config: Config) -> lora.Lora | None:
  """How the network is adapted, if it is; old runs have no key for it."""
  chosen = config.get('lora', {'rank': 0})
  return lora.Lora(**chosen) if chosen['rank'] else None


def make_keep(config: Config) -> retention.Keep:
  """Which checkpoints stay."""
  return retention.Keep(
    last=config.train.keep,
    every=config.train.keep_every,
    best=config.train.best,
  )


def make_spikes(config: Config) -> step.Spikes:
  """What a loss out of the ordinary is, and whether it is skipped."""
  return step.Spikes(factor=config.guards.spike, skip=config.guards.skip_spikes)


def make_sampler(config: Config) -> loop.Sampler:
  """A row of SAMPLERS."""
  return make_row(config.sampler, samplers.SAMPLERS)


def make_grid(config: Config, process: sde.Process) -> grids.Grid:
  """A row of GRIDS for the process and `num_steps`.

  Raises:
    ValueError: its steps cannot be walked.
  """
  grid = make_row(config.grid, grids.GRIDS, process, config.num_steps)
  return grids.checked(grid, config.grid, process.schedule.T, config.num_steps)


def make_task(
  config: Config, grid: grids.Grid, num_steps: int, start_noise: float = 1.0
) -> generate.Task:
  """Image-to-video: the first frame is held, or given and made anew."""
  frames = config.data.frames
  plan = plans.image_to_video if config.hold_given else plans.generate
  return generate.Task(
    plan=plan(num_steps, frames),
    grid=grid,
    conditioning=make_conditioning(config),
    given=(0,),
    pad_to=num_steps,
    motion=generate.Motion(start_noise=start_noise),
  )


def weights_path(name: str) -> epath.Path:
  """A weight file by its short name or its path."""
  return epath.Path(WEIGHTS.get(name, name))
