"""What every key of a config may be: a rule for each."""

from framebridge_jax import build, jobs, rules, sample_keys
from framebridge_jax.data import codec, sources, token_files
from framebridge_jax.evaluation import metrics, protocols
from framebridge_jax.models import attention, latte
from framebridge_jax.porting import latte as latte_rows
from framebridge_jax.processes import (
  clocks,
  predictions,
  priors,
  saf,
  times,
  views,
)
from framebridge_jax.processes import table as processes
from framebridge_jax.training import chips, losses, optimizers


def _data_sets(x):
  """A data set, or several with a + between."""
  known = f'one of {", ".join(sources.DATASETS)}, or several as a+b'
  if not isinstance(x, str):
    return known
  try:
    sources.parse(x)
  except ValueError as error:
    return f'{known} ({error})'
  return None


def _weights(x):
  """Numbers above 0, or none."""
  fits = isinstance(x, tuple | list) and all(
    isinstance(y, int | float) and y > 0 for y in x
  )
  return None if fits else '() or a number above 0 for each data set'


def _size(x):
  """A side, or 0."""
  return None if x == 0 else rules.even(x)


def _chips(x):
  """Names of CHIPS, or none."""
  fits = isinstance(x, tuple | list) and set(x) <= set(chips.CHIPS)
  return None if fits else f'() or names of {", ".join(chips.CHIPS)}'


TRAIN: dict[str, rules.Rule] = {
  'job': rules.one_of(jobs.JOBS),
  'seed': rules.integer(0),
  'dataset': _data_sets,
  'data_dir': rules.text,
  'cache_dir': rules.text,
  'data.world': rules.text,
  'data.size': rules.even,
  'data.frames': rules.integer(2),
  'data.stride': rules.integer(1),
  'data.train_clips': rules.integer(1),
  'data.test_clips': rules.integer(1),
  'data.num_workers': rules.integer(0),
  'data.max_stride': rules.integer(0),
  'data.flip': rules.flag,
  'data.caption_dropout': rules.number(0, 1),
  'data.draw': rules.flag,
  'data.weights': _weights,
  'data.max_bad_fraction': rules.number(0, 1),
  'data.prefetch': rules.integer(1),
  'codec': rules.made(codec.CODECS),
  'optimizer.name': rules.option(optimizers.OPTIMIZERS),
  'optimizer.learning_rate': rules.number(0),
  'optimizer.schedule': rules.option(optimizers.LEARNING_RATES),
  'optimizer.warmup_steps': rules.integer(0),
  'optimizer.weight_decay': rules.number(0),
  'optimizer.b2': rules.number(0, 1),
  'optimizer.clip_norm': rules.number(1e-6),
  'optimizer.clip_from': rules.integer(0),
  'optimizer.freeze': rules.regex,
  'optimizer.moments': rules.one_of(build.DTYPES),
  'cluster.wait_seconds': rules.number(1),
  'cluster.heartbeat_seconds': rules.number(1),
  'lora.rank': rules.integer(0),
  'lora.alpha': rules.number(1e-6),
  'lora.targets': rules.regex,
  'lora.also': rules.regex,
  'ema_decays': rules.numbers(0, 1),
  'init_from': rules.text,
  'init_fresh': rules.regex,
  'init_surgery': rules.flag,
  'train.num_steps': rules.integer(1),
  'train.batch_size': rules.integer(1),
  'train.log_every': rules.integer(1),
  'train.checkpoint_every': rules.integer(1),
  'train.accumulate': rules.integer(1),
  'train.keep': rules.integer(1),
  'train.keep_every': rules.integer(0),
  'train.best': rules.text,
  'train.validate_every': rules.integer(0),
  'train.validate_batches': rules.integer(1),
  'train.on_save_error': rules.one_of(['stop', 'warn']),
  'train.sample_every': rules.integer(1),
  'require': rules.one_of(['', 'cpu', 'gpu', 'tpu']),
  'supervise': rules.flag,
  'verify': rules.flag,
  'guards.max_bad_steps': rules.integer(0),
  'guards.on_bad': rules.one_of(['roll_back', 'stop']),
  'guards.spike': rules.number(1),
  'guards.skip_spikes': rules.flag,
  'guards.stall_seconds': rules.number(0),
  'guards.stall_exit': rules.flag,
  'log.time_bins': rules.integer(0),
  'log.profile_steps': rules.text,
  'log.wandb': rules.text,
  'mesh.data': rules.axis,
  'mesh.fsdp': rules.axis,
  'mesh.tensor': rules.axis,
  'mesh.frames': rules.axis,
}

# Of these a trained model's latents are made.
CLIPS = ('codec', 'data.size', 'data.frames', 'data.stride')

LATTE_NEEDS = ('patch', 'width', 'depth', 'heads')
LATTE: dict[str, rules.Rule] = {
  'patch': rules.integer(1),
  'width': rules.integer(8),
  'depth': rules.integer(2),
  'heads': rules.integer(1),
  'classes': rules.integer(build.AS_FOUND),
  'text_width': rules.integer(0),
  'timed': rules.flag,
  'learned_variance': rules.flag,
  'prior': rules.flag,
  'image_frame': rules.flag,
  'stride': rules.flag,
  'trained_grid': rules.sides,
  'stem': rules.integer(0),
  'anchor': rules.flag,
  'scan': rules.flag,
  'remat': rules.one_of(latte.REMATS),
  'attention': rules.one_of(attention.ATTENTIONS),
}

# Which keys of a job's config hold networks.
NETWORKS = {
  'denoiser': ('model', 'prior_model'),
  'neural_prior': ('model',),
}

# The keys of each job besides those of TRAIN.
JOBS: dict[str, dict[str, rules.Rule]] = {
  'denoiser': {
    'process.name': rules.one_of(processes.PROCESSES),
    'process.schedule': rules.made(processes.SCHEDULES),
    'prior': rules.one_of([*priors.PRIORS, build.NEURAL]),
    'prior_from': rules.text,
    'hold_given': rules.flag,
    'denoiser.shown': rules.one_of(['', *priors.PRIORS, build.NEURAL]),
    'denoiser.prediction': rules.one_of(predictions.PREDICTIONS),
    'denoiser.view': rules.one_of([*views.VIEWS, 'aligned']),
    'denoiser.clock': rules.made(clocks.CLOCKS),
    'denoiser.teacher': rules.optional(rules.made(processes.SCHEDULES)),
    'denoiser.lookup': rules.made(saf.LOOKUPS),
    'dtype': rules.one_of(build.DTYPES),
    'times.draw': rules.made(times.DRAWS),
    'times.coin': rules.one_of(times.COINS),
    'times.t_min': rules.number(1e-6, 1.0),
    'times.p_frames': rules.number(0, 1),
    'times.p_end': rules.number(0, 1),
    'times.known_time': rules.number(0, 1),
    'condition_noise': rules.optional(rules.made(times.NOISES)),
    'label_dropout': rules.number(0, 1),
    'loss_weight': rules.made(losses.LOSS_WEIGHTS),
  },
  'neural_prior': {
    'dtype': rules.one_of(build.DTYPES),
    'label_dropout': rules.number(0, 1),
  },
  'digit_reader': {
    'model.classes': rules.integer(build.AS_FOUND),
    'model.name': rules.one_of(['digit_reader']),
    'loss.noise': rules.number(0),
  },
  'motion_reader': {
    'model.classes': rules.integer(build.AS_FOUND),
    'model.name': rules.one_of(['motion_reader']),
    'loss.brightness': rules.number(0, 1),
  },
}

# Weight files of scores.
NETWORK_FILES = (
  'i3d',
  'motion_reader',
  'clip_image',
  'clip_text',
  'clip_tokenizer',
  'c3d',
  'videomae',
  'dreamsim',
)

# Of a data set, without what training does with it.
_CLUSTER = ('cluster.wait_seconds', 'cluster.heartbeat_seconds')
_DATA = (
  'dataset',
  'data_dir',
  'cache_dir',
  'data.world',
  'data.size',
  'data.train_clips',
  'data.test_clips',
  'data.max_bad_fraction',
)

MODES: dict[str, dict[str, rules.Rule]] = {
  'sample': sample_keys.SAMPLE,
  'evaluate': {
    **sample_keys.SAMPLING,
    'num_clips': rules.integer(1),
    'num_futures': rules.integer(1),
    'batch_size': rules.integer(1),
    'num_show': rules.integer(1),
    'step': rules.integer(0),
    'protocol': rules.optional(rules.one_of(protocols.NAMES)),
    'videos': rules.text,
    'give': rules.text,
    'method': rules.text,
    'metrics': rules.names_of(metrics.METRICS),
    'real_set': rules.optional(_data_sets),
    'split': rules.text,
    'real_dir': rules.text,
    'real_cache': rules.text,
    'samples': rules.integer(-1),
    'real': rules.integer(-1),
    'several': rules.integer(-1),
    'size': _size,
    'seeds': rules.integer(1),
    'draws': rules.integer(0),
    'copies': rules.flag,
    'ladder': rules.flag,
    'strict': rules.flag,
    **{f'networks.{name}': rules.text for name in NETWORK_FILES},
    'vbench.info': rules.text,
    'vbench.images': rules.text,
    **{name: TRAIN[name] for name in _CLUSTER},
  },
  'export': {
    'path': rules.text,
    'export_dtype': rules.one_of(build.DTYPES),
    'ema': rules.number(0, 1),
  },
  'port': {
    'checkpoint': rules.text,
    'state': rules.text,
    'model': rules.text,
    'frames': rules.integer(1),
    'channels': rules.integer(1),
    'export_dtype': rules.one_of(build.DTYPES),
    'back': rules.flag,
    'layout': rules.one_of(latte_rows.LAYOUTS),
  },
  'data': {
    **{name: TRAIN[name] for name in _DATA},
    'inspect': rules.flag,
    'splits': rules.texts,
    'clips': rules.integer(1),
    'frames': rules.integer(1),
    'seed': rules.integer(0),
  },
  'encode': {
    'dataset': _data_sets,
    'data_dir': rules.text,
    'cache_dir': rules.text,
    **{
      name: TRAIN[name]
      for name in (
        'data.world',
        'data.train_clips',
        'data.test_clips',
        'data.size',
        'data.frames',
        'data.stride',
      )
    },
    'splits': rules.texts,
    'autoencoder': rules.text,
    'keep': rules.one_of(['moments', 'mode']),
    'dtype': rules.one_of(['float16', 'float32']),
    'chunk': rules.integer(1),
    'tile': rules.integer(0),
    'piece': rules.integer(1),
    'per_shard': rules.integer(1),
    'encoder': rules.text,
    'tokenizer': rules.text,
    'kind': rules.optional(rules.one_of(token_files.KINDS)),
    'layer': rules.text,
    'length': rules.integer(0),
    'host': rules.integer(-1),
    'hosts': rules.integer(-1),
    'runner': rules.text,
    'runner_options': rules.text,
    'verify': rules.flag,
  },
  'embed': {
    'encoder': rules.text,
    'tokenizer': rules.text,
    'kind': rules.optional(rules.one_of(token_files.KINDS)),
    'captions': rules.text,
    'length': rules.integer(0),
    'layer': rules.text,
    'dtype': rules.one_of(build.DTYPES),
    'cache_dtype': rules.one_of(build.DTYPES),
    'batch_size': rules.integer(1),
    'cache_dir': rules.text,
  },
  'report': {
    'report': rules.one_of(['run', 'process', 'compare', 'rating', 'paths']),
    'title': rules.text,
    'methods': rules.some_texts,
    'clips': rules.integer(1),
    'ratings': rules.some_texts,
    'rating_key': rules.text,
    'seed': rules.integer(0),
  },
  'plan': {
    'devices': rules.integer(1),
    'topology': rules.text,
    'chips': _chips,
    'utilisation': rules.number(0.01, 1),
  },
  'doctor': {
    'require': rules.one_of(['', 'cpu', 'gpu', 'tpu']),
    'seconds': rules.number(0, 60),
    'wandb': rules.text,
  },
}
