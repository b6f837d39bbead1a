"""What is kept for a post-mortem, where no restart finds it.

`WORKDIR/bad` holds states that were not finite when they should be saved,
`WORKDIR/damaged` steps that were no longer what had been saved.
"""

import itertools
import json
from collections.abc import Iterable

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from absl import logging
from etils import epath
from jaxtyping import PyTree

from framebridge_jax import files
from framebridge_jax.training import hosts


class NonFiniteStateError(ValueError):
  """A state is no longer made of numbers, and was not saved as a good one."""

  exit_code = 4


def finite(tree: PyTree) -> bool:
  """Whether all numbers of a tree are finite."""
  return bool(
    _all_finite(
      [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.inexact)]
    )
  )


def keep_bad(workdir: epath.PathLike, state: PyTree, step: int) -> epath.Path:
  """Saves a broken state; returns where."""
  path = _free(files.absolute(workdir) / 'bad' / str(step))
  with ocp.StandardCheckpointer() as checkpointer:
    checkpointer.save(path, state)
  return path


def set_aside(steps: Iterable[epath.PathLike]) -> None:
  """Moves folders `checkpoints/STEP` to `damaged/STEP` beside it."""
  if not hosts.first():
    return
  for path in map(epath.Path, steps):
    target = _free(path.parents[1] / 'damaged' / path.name)
    target.parent.mkdir(exist_ok=True)
    path.rename(target)
    logging.warning('Moved the damaged step %s to %s', path.name, target)


def set_aside_metrics(checkpoints: epath.PathLike) -> None:
  """Moves what Orbax could not read of `train.best` to `damaged/STEP.metrics`.

  It would refuse to open any step then.  The step stays, and is not the best.
  """
  checkpoints = epath.Path(checkpoints)
  for path in checkpoints.glob('*/metrics/metrics'):
    try:
      json.loads(path.read_text())
    except (OSError, ValueError) as error:
      step = path.parents[1].name
      target = _free(checkpoints.parent / 'damaged' / f'{step}.metrics')
      target.parent.mkdir(exist_ok=True)
      path.rename(target)
      logging.error(
        'The metrics of step %s are damaged (%s); moved to %s',
        step,
        error,
        target,
      )


@jax.jit
def _all_finite(arrays):
  return jnp.all(jnp.array([jnp.all(jnp.isfinite(x)) for x in arrays]))


def _free(path):
  """The path, or the first of `path.1`, `path.2`, ... that is not taken."""
  taken = (path.with_name(f'{path.name}.{n}') for n in itertools.count(1))
  return path if not path.exists() else next(p for p in taken if not p.exists())
