"""Optimizers and learning-rate schedules, all of them optax's."""

import dataclasses
import re

import jax
import optax
from flax.core import meta

from framebridge_jax import arguments
from framebridge_jax.training import freezing


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
  """An optimizer's numbers.

  Attributes:
    learning_rate: at its peak.
    schedule: a row of LEARNING_RATES with its options.
    warmup_steps: of linear growth from 0.
    num_steps: when a decaying schedule ends.
    weight_decay: decoupled, on matrices only.
    b2: decay of the second moment.
    clip_norm: bound on the gradient's global norm.
    clip_from: first update whose gradient is bounded; early gradients are
      large and tell where to go.
    name: a row of OPTIMIZERS with its options.
    freeze: regex searched in a parameter's `/`-joined name; what it matches
      stays as it is and has no optimizer state.  '' matches none.
    moments: type of the first moment.  The second is float32 in any case: its
      change of a step, `1 - b2` of it, is less than bfloat16 tells apart.
  """

  learning_rate: float
  schedule: str
  warmup_steps: int
  num_steps: int
  weight_decay: float
  b2: float
  clip_norm: float
  clip_from: int = 0
  name: str = 'adamw'
  freeze: str = ''
  moments: str = 'float32'


def make(recipe: Recipe) -> optax.GradientTransformation:
  """The recipe's optimizer of what is not frozen, with clipped gradients.

  Raises:
    ValueError: the optimizer or an option is unknown or refused.
  """
  row, options = arguments.parse_row(recipe.name, OPTIMIZERS)
  update = optax.chain(_clip(recipe), row(recipe, **options))
  if not recipe.freeze:
    return update
  frozen = freezing.matching(recipe.freeze)
  return optax.multi_transform(
    {'train': update, 'freeze': optax.set_to_zero()},
    _by_name(lambda name, x: 'freeze' if frozen(name) else 'train'),
  )


def adamw(recipe: Recipe) -> optax.GradientTransformation:
  """AdamW (Loshchilov & Hutter 2019); weights decay in matrices only."""
  return optax.adamw(
    make_learning_rate(recipe),
    b2=recipe.b2,
    mu_dtype=recipe.moments,
    weight_decay=recipe.weight_decay,
    mask=_matrices,
  )


def muon(
  recipe: Recipe,
  *,
  rate: float = 0.02,
  momentum: float = 0.95,
) -> optax.GradientTransformation:
  """Muon (Jordan et al. 2024) for the matrices of blocks, AdamW for the rest.

  Momentum is made orthogonal before it is taken: every direction of a matrix
  learns at one pace.

  Args:
    recipe: its schedule holds for both; its learning rate is AdamW's.
    rate: learning rate of Muon, at its peak.
    momentum: decay of the first moment.
  """
  peak = dataclasses.replace(recipe, learning_rate=rate)
  orthogonal = optax.chain(
    optax.contrib.scale_by_muon(
      beta=momentum,
      mu_dtype=recipe.moments,
      weight_dimension_numbers=lambda updates: jax.tree.map(
        lambda _: optax.contrib.MuonDimensionNumbers(), updates
      ),
    ),
    optax.stateless_with_tree_map(
      lambda x, _: x * _stretch(*jax.numpy.shape(x))
    ),
    optax.add_decayed_weights(recipe.weight_decay),
    optax.scale_by_learning_rate(make_learning_rate(peak)),
  )
  return optax.multi_transform(
    {'muon': orthogonal, 'adamw': adamw(recipe)},
    _by_name(
      lambda name, x: 'muon' if x.ndim == 2 and _in_block(name) else 'adamw'
    ),
  )


# Of the networks' blocks, one by one; stacked ones (`model.scan`) have a third
# axis and stay with AdamW.
_in_block = re.compile('(spatial|temporal)_').search


def _stretch(columns, rows):
  """Matrices that widen change what they give by as much per number of it."""
  return max(1.0, rows / columns) ** 0.5


def _by_name(label):
  """Labels of parameters by their names and shapes, boxed or not."""

  def of(path, leaf):
    return label(_name(path), meta.unbox(leaf))

  return lambda params: jax.tree_util.tree_map_with_path(
    of,
    params,
    is_leaf=lambda x: isinstance(x, meta.AxisMetadata),  # boxed at birth
  )


def make_learning_rate(recipe: Recipe) -> optax.Schedule:
  """The learning rate as a function of the number of updates.

  Raises:
    ValueError: the schedule or an option is unknown or refused.
  """
  row, options = arguments.parse_row(recipe.schedule, LEARNING_RATES)
  return row(recipe, **options)


def _clip(recipe):
  clip = optax.clip_by_global_norm(recipe.clip_norm)
  if not recipe.clip_from:
    return clip
  return optax.conditionally_transform(
    clip, lambda count: count >= recipe.clip_from
  )


def _name(path):
  return jax.tree_util.keystr(path, simple=True, separator='/')


def cosine(recipe: Recipe, *, end: float = 0.02) -> optax.Schedule:
  """Warm-up, then a half cosine to `end` of the peak at the last step."""
  return _restarting(recipe, cycles=1, shrink=1.0, end=end)


def cosine_restarts(
  recipe: Recipe, *, cycles: int = 4, shrink: float = 1.0, end: float = 0.02
) -> optax.Schedule:
  """Warm-up and half cosine again and again (SGDR, Loshchilov & Hutter 2017).

  Args:
    recipe: its `num_steps` are shared by the cycles equally.
    cycles: how many.
    shrink: each cycle's peak by that of the one before.
    end: of the first peak, where every cycle ends.

  Raises:
    ValueError: a cycle would be shorter than its warm-up.
  """
  return _restarting(recipe, cycles, shrink, end)


def constant(recipe: Recipe) -> optax.Schedule:
  """Warm-up, then the peak for good."""
  peak, steps = recipe.learning_rate, recipe.warmup_steps
  # Not optax.warmup_constant_schedule: without warm-up it stays at 0.
  return optax.join_schedules(
    [optax.linear_schedule(0.0, peak, steps), optax.constant_schedule(peak)],
    [steps],
  )


def _restarting(recipe, cycles, shrink, end):
  length = max(recipe.num_steps // max(cycles, 1), 1)
  if cycles < 1 or (cycles > 1 and length <= recipe.warmup_steps):
    raise ValueError(
      f'{cycles} cycles of {recipe.num_steps} steps are {length} steps each, '
      f'want more than the {recipe.warmup_steps} of the warm-up'
    )
  return optax.sgdr_schedule(
    [
      {
        'init_value': 0.0,
        'peak_value': recipe.learning_rate * shrink**cycle,
        'warmup_steps': recipe.warmup_steps,
        'decay_steps': max(length, recipe.warmup_steps + 1),
        'end_value': end * recipe.learning_rate,
      }
      for cycle in range(cycles)
    ]
  )


def _matrices(params):
  return jax.tree.map(lambda x: x.ndim > 1, params)


LEARNING_RATES = {
  'cosine': cosine,
  'cosine_restarts': cosine_restarts,
  'constant': constant,
}
OPTIMIZERS = {'adamw': adamw, 'muon': muon}
