"""What every key of sampling may be."""

from framebridge_jax import build, rules
from framebridge_jax.processes import priors
from framebridge_jax.samplers import grids
from framebridge_jax.samplers import table as samplers
from framebridge_jax.tasks import plans

# Of `--mode=sample` and `--mode=evaluate`.
SAMPLING: dict[str, rules.Rule] = {
  'seed': rules.integer(0),
  'sampler': rules.made(samplers.SAMPLERS),
  'grid': rules.option(grids.GRIDS),
  'num_steps': rules.integer(1),
  'start_noise': rules.number(0),
  'guidance': rules.number(0),
  'guidance_rescale': rules.number(0, 1),
  'guidance_start': rules.number(0, 1),
  'guidance_stop': rules.number(0, 1),
  'guidance_history': rules.number(0),
  'fps': rules.integer(1),
  'weights': rules.text,
  'ema': rules.number(0, 1),
}

SAMPLE: dict[str, rules.Rule] = {
  **SAMPLING,
  'task': rules.option(plans.TASKS),
  'image': rules.text,
  'video': rules.text,
  'batch': rules.text,
  'label': rules.integer(-1),
  'count': rules.integer(1),
  'length': rules.integer(-1),
  'anchor': rules.flag,
  'match': rules.number(0, 1),
  'frames': rules.integer(0),
  'size': rules.integer(0),
  'negative_label': rules.integer(-1),
  'temperature': rules.number(0),
  'image_noise': rules.number(0),
  'known_time': rules.number(0, 1),
  'frame_stride': rules.integer(0),
  'task_prior': rules.optional(rules.one_of([*priors.PRIORS, build.NEURAL])),
  'compute_dtype': rules.optional(rules.one_of(build.COMPUTE_DTYPES)),
  'batch_size': rules.integer(1),
  'name': rules.text,
  'host': rules.integer(-1),
  'hosts': rules.integer(-1),
}
