"""The manifest of a checkpoint: what it holds, and the digest of all of it.

It is written in the same commit as the arrays, in the thread that saves them.
Of several processes each writes the digests of what it holds.
"""

import asyncio
import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import jax
import orbax.checkpoint as ocp
from etils import epath
from jaxtyping import PyTree
from orbax.checkpoint import checkpoint_args

from framebridge_jax.training import digests

Manifest = Mapping[str, Any]


class OtherModelError(ValueError):
  """A checkpoint holds other arrays than the model has."""


class DamagedError(ValueError):
  """A checkpoint is not as it was saved."""


class DigestHandler(ocp.AsyncCheckpointHandler):
  """Hashes what is being saved in the thread that saves it."""

  async def async_save(self, directory, args):
    """Gives the future of the manifest's file."""
    return [
      ocp.future.CommitFutureAwaitingContractedSignals(
        self._write(directory, args), name='digests'
      )
    ]

  def save(self, directory, args):
    """Writes the manifest at once."""
    asyncio.run(self._write(directory, args))

  def restore(self, directory, args=None):
    """Reads the manifest."""
    return json.loads((directory / _name(0)).read_text())

  async def _write(self, directory, args):
    count, index = jax.process_count(), jax.process_index()
    manifest = digests.seal(args.blocks, args.record, processes=count)
    (directory / _name(index)).write_text(json.dumps(manifest))


# Orbax wants a class for reading too, though `read` does without Orbax.
@checkpoint_args.register_with_handler(
  DigestHandler, for_save=True, for_restore=True
)
@dataclasses.dataclass
class SaveDigests(ocp.args.CheckpointArgs):
  """What the manifest is made of."""

  blocks: list[digests.Block]
  record: Mapping[str, Any]


def read(step_folder: epath.PathLike) -> Manifest:
  """The manifest of a step.

  Raises:
    DamagedError: there is none, or it is not as it was written.
  """
  folder = epath.Path(step_folder) / 'digests'
  manifest = _read(folder / _name(0))
  for index in range(1, manifest.get('processes', 1)):
    for name, entry in _read(folder / _name(index))['arrays'].items():
      known = manifest['arrays'].setdefault(name, entry)
      known['sha256'] |= entry['sha256']
  return manifest


def _read(path):
  try:
    manifest = json.loads(path.read_text())
    content = {name: x for name, x in manifest.items() if name != 'sha256'}
    whole = {'arrays', 'record'} <= content.keys() and (
      digests.of_json(content) == manifest['sha256']
    )
  except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
    raise DamagedError(f'{path} cannot be read ({error!r})') from None
  if not whole:
    raise DamagedError(f'{path} has not its own digest')
  return manifest


def _name(index):
  return f'digests.{index}.json' if index else 'digests.json'


def compare(
  manifest: Manifest, like: PyTree, path: epath.PathLike, *, branch: str = ''
) -> None:
  """Compares names, shapes and types of arrays; nothing is read.

  Args:
    manifest: of the step in `path`.
    like: what is wanted of it.
    path: named in the error.
    branch: beginning of the names that are looked at.

  Raises:
    OtherModelError: they differ; at most 20 differences are told.
  """
  saved = {
    name: (tuple(entry['shape']), entry['dtype'])
    for name, entry in manifest['arrays'].items()
    if name.startswith(branch)
  }
  wanted = {
    name: (tuple(x.shape), str(x.dtype)) for name, x in digests.flatten(like)
  }
  differences = [
    f'{name} is {saved.get(name, "missing")} there and '
    f'{wanted.get(name, "unknown")} here'
    for name in sorted(saved.keys() | wanted.keys())
    if saved.get(name) != wanted.get(name)
  ]
  if differences:
    more = len(differences) - _SHOWN
    raise OtherModelError(
      f'{path} is of another model: {"; ".join(differences[:_SHOWN])}'
      + (f'; and {more} more' if more > 0 else '')
      + '; name another --workdir, or start from its exported weights with '
      'init_from'
    )


def reason(error: Exception) -> str:
  """Somebody else's error in one line, its kind first."""
  return f'{type(error).__name__}: {" ".join(str(error).split())[:_LETTERS]}'


_LETTERS = 300
_SHOWN = 20  # differences in one message
