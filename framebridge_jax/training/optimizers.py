"""Optimizers and learning-rate schedules, all of them optax's."""

import dataclasses
import re

import jax
import optax
from flax.core import meta

from framebridge_jax import arguments


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
  """AdamW's numbers.

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
    freeze: regex searched in a parameter's `/`-joined name; what it matches
      stays as it is and has no optimizer state.  '' matches none.
  """

  learning_rate: float
  schedule: str
  warmup_steps: int
  num_steps: int
  weight_decay: float
  b2: float
  clip_norm: float
  clip_from: int = 0
  freeze: str = ''


def adamw(recipe: Recipe) -> optax.GradientTransformation:
  """Clipped AdamW of what is not frozen."""
  update = optax.chain(
    _clip(recipe),
    optax.adamw(
      make_learning_rate(recipe),
      b2=recipe.b2,
      weight_decay=recipe.weight_decay,
      mask=_matrices,
    ),
  )
  if not recipe.freeze:
    return update
  frozen = re.compile(recipe.freeze).search
  return optax.multi_transform(
    {'train': update, 'freeze': optax.set_to_zero()},
    lambda params: jax.tree_util.tree_map_with_path(
      lambda path, _: 'freeze' if frozen(_name(path)) else 'train',
      params,
      is_leaf=lambda x: isinstance(x, meta.AxisMetadata),  # boxed at birth
    ),
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
