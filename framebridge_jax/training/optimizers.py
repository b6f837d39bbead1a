"""Optimizers and learning-rate schedules, all of them optax's."""

import dataclasses
import re

import jax
import optax
from flax.core import meta


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
  """AdamW's numbers.

  Attributes:
    learning_rate: at its peak.
    schedule: a row of LEARNING_RATES.
    warmup_steps: of linear growth from 0.
    num_steps: when a decaying schedule ends.
    weight_decay: decoupled, on matrices only.
    b2: decay of the second moment.
    clip_norm: bound on the gradient's global norm.
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
  freeze: str = ''


def adamw(recipe: Recipe) -> optax.GradientTransformation:
  """Clipped AdamW of what is not frozen."""
  update = optax.chain(
    optax.clip_by_global_norm(recipe.clip_norm),
    optax.adamw(
      LEARNING_RATES[recipe.schedule](recipe),
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


def _name(path):
  return jax.tree_util.keystr(path, simple=True, separator='/')


def cosine(recipe: Recipe) -> optax.Schedule:
  """Warm-up, then a half cosine to 2 % of the peak at the last step."""
  return optax.warmup_cosine_decay_schedule(
    init_value=0.0,
    peak_value=recipe.learning_rate,
    warmup_steps=recipe.warmup_steps,
    decay_steps=max(recipe.num_steps, recipe.warmup_steps + 1),
    end_value=0.02 * recipe.learning_rate,
  )


def constant(recipe: Recipe) -> optax.Schedule:
  """Warm-up, then the peak for good."""
  peak, steps = recipe.learning_rate, recipe.warmup_steps
  # Not optax.warmup_constant_schedule: without warm-up it stays at 0.
  return optax.join_schedules(
    [optax.linear_schedule(0.0, peak, steps), optax.constant_schedule(peak)],
    [steps],
  )


def _matrices(params):
  return jax.tree.map(lambda x: x.ndim > 1, params)


LEARNING_RATES = {'cosine': cosine, 'constant': constant}
