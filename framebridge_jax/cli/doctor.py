"""--mode=doctor: what this machine is, and what would fail on it.

Each part of the card has a title, rows of names and values, and problems.
Looking leaves nothing behind: no folder is made, no file is left.
"""

import importlib.metadata
import importlib.util
import os
import pathlib
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from typing import NamedTuple

import av
import jax
import ml_collections
import psutil
from etils import epath

from framebridge_jax import check, files, version
from framebridge_jax.cli import devices, runs

PACKAGES = (
  'jax',
  'jaxlib',
  'flax',
  'orbax-checkpoint',
  'optax',
  'grain',
  'tensorflow-datasets',
)
# Modules that nothing needs but this.
OPTIONAL = {
  'wandb': 'logging to Weights & Biases',
  'tensorboard': 'looking at the curves of a run',
  'apache_beam': 'preparing large data sets in parallel',
}

_GB = 1e9
_LITTLE_DISK = 5 * _GB
_LITTLE_SHARED = 0.25 * _GB
_ROUNDING = 0.01  # bfloat16 rounds to 1 part in 256


class Part(NamedTuple):
  """A part of the card."""

  title: str
  rows: Sequence[tuple[str, str]]
  problems: Sequence[str] = ()


def run(config: ml_collections.ConfigDict, workdir: epath.PathLike) -> None:
  """Prints the card.

  Raises:
    DeviceError: JAX does not compute on what `config.require` asks for.
  """
  check.check_mode(config, 'doctor')
  devices.require(config.require)
  print(
    card(
      [
        _devices(),
        _versions(),
        _workdir(workdir),
        _cache(jax.config.values['jax_compilation_cache_dir']),
        _precision(),
        _rate(config.seconds),
        _memory(),
        _video(),
        _optional(config.wandb),
      ]
    )
  )


def card(parts: Sequence[Part]) -> str:
  """The parts as aligned text, and at the end everything that would fail."""
  width = max(len(name) for part in parts for name, _ in part.rows)
  lines = []
  for part in parts:
    lines.append(part.title)
    lines += [f'  {name:<{width}}  {value}' for name, value in part.rows]
  problems = [f'  - {problem}' for part in parts for problem in part.problems]
  if not problems:
    return '\n'.join([*lines, '', 'nothing found that would fail'])
  return '\n'.join([*lines, '', 'what would fail', *problems])


def _devices():
  kind = devices.backend()
  problems = [
    f'JAX sees only the CPU, though {sign} says that there is a {other}; '
    f'{devices.why_not(other)}'
    for other in devices.ACCELERATORS
    if kind == 'cpu' and (sign := devices.seen(other))
  ]
  rows = [
    ('backend', kind),
    ('devices', runs.device_name()),
    ('processes', f'{jax.process_count()}'),
    ('cpu cores', f'{os.cpu_count()}'),
  ]
  return Part('devices', rows, problems)


def _versions():
  own = ' '.join(filter(None, [version.__version__, _commit()]))
  rows = [('framebridge_jax', own), ('python', platform.python_version())]
  problems = []
  for name in PACKAGES:
    try:
      rows.append((name, importlib.metadata.version(name)))
    except importlib.metadata.PackageNotFoundError:
      rows.append((name, 'missing'))
      problems.append(f'{name} is not installed: pip install {name}')
  return Part('versions', rows, problems)


def _commit():
  """The commit of a checkout, marked where files were changed since."""
  root = pathlib.Path(__file__).parents[2]
  if not (root / '.git').exists() or not shutil.which('git'):
    return ''
  done = subprocess.run(
    ['git', '-C', root, 'describe', '--always', '--dirty', '--exclude=*'],
    capture_output=True,
    text=True,
  )
  return f'({done.stdout.strip()})' if done.returncode == 0 else ''


def _workdir(workdir):
  rows, problems = _folder('workdir', workdir, '--workdir')
  shared = pathlib.Path('/dev/shm')
  if shared.is_dir():
    free = shutil.disk_usage(shared).free
    rows.append(('shared memory', f'{free / _GB:.1f} GB free'))
    if free < _LITTLE_SHARED:
      problems.append(
        f'{free / _GB:.2f} GB are free in {shared}, through which data workers '
        f'pass clips; give the container more, or data.num_workers=0'
      )
  return Part('disk', rows, problems)


def _cache(folder):
  if not folder:
    hint = 'none; JAX_COMPILATION_CACHE_DIR=FOLDER compiles once for all runs'
    return Part('compilation cache', [('cache', hint)])
  if not files.is_local(folder):
    return Part('compilation cache', [('cache', f'{folder}, not looked at')])
  return Part(
    'compilation cache',
    *_folder('cache', epath.Path(folder), 'JAX_COMPILATION_CACHE_DIR'),
  )


def _folder(name, folder, setting):
  """Rows and problems of a folder that is there or can be made."""
  if not files.is_local(folder):
    return [(name, f'{folder}: answers; writing is not tried')], []
  there = files.absolute(folder)
  while not there.exists():
    there = there.parent
  free = shutil.disk_usage(there).free
  refusal = _refusal(there)
  state = 'writable' if folder.exists() else 'not there yet, can be made'
  rows = [
    (name, f'{folder}: {state if refusal is None else "not writable"}'),
    (f'{name} disk', f'{free / _GB:.1f} GB free'),
  ]
  problems = []
  if refusal is not None:
    problems.append(
      f'{name} {folder} cannot be written ({refusal}: {there}); give another '
      f'folder to {setting}'
    )
  elif free < _LITTLE_DISK:
    problems.append(
      f'{name} {folder} has {free / _GB:.1f} GB of disk left; a checkpoint '
      f'takes 16 bytes a parameter and train.keep of them are kept'
    )
  return rows, problems


def _refusal(folder):
  """Why nothing can be written there; None where it can."""
  try:
    with tempfile.TemporaryFile(dir=folder):
      return None
  except OSError as error:
    return error.strerror


def _precision():
  matmul = (
    jax.config.values['jax_default_matmul_precision'] or 'default of the device'
  )
  off = devices.matmul_error('bfloat16')
  sane = off < _ROUNDING  # not so of NaN
  rows = [
    ('float32 matmul', str(matmul)),
    ('float64', 'on' if jax.config.values['jax_enable_x64'] else 'off'),
    ('bfloat16', f'{"sane" if sane else "wrong"}, a product is {off:.2%} off'),
  ]
  problem = (
    f'a product in bfloat16 is {off:.2%} off, want at most {_ROUNDING:.0%}; '
    f'train with --config.dtype=float32'
  )
  return Part('precision', rows, [] if sane else [problem])


def _rate(seconds):
  dtypes = ['float32']
  if devices.backend() in devices.ACCELERATORS:
    dtypes.append('bfloat16')
  rows = []
  for dtype in dtypes:
    rate, side = devices.matmul_rate(dtype, seconds / len(dtypes))
    rows.append((dtype, f'{rate:,.0f} GFLOP/s, {side} x {side}'))
  return Part('matrix products', rows)


def _memory():
  host = psutil.virtual_memory()
  rows = [('host', _of(host.available, host.total))]
  for device in jax.local_devices():
    stats = device.memory_stats() or {}
    if 'bytes_limit' in stats:
      free = stats['bytes_limit'] - stats.get('bytes_in_use', 0)
      rows.append((f'device {device.id}', _of(free, stats['bytes_limit'])))
  if len(rows) == 1:
    rows.append(('devices', "the host's"))
  return Part('memory', rows)


def _of(free, total):
  return f'{free / _GB:.1f} of {total / _GB:.1f} GB free'


def _video():
  try:
    encoder = av.Codec('h264', 'w').name
  except ValueError:
    problem = (
      f'PyAV {av.__version__} has no H.264 encoder, so no mp4 can be written; '
      f"reinstall it from its wheel: pip install --force-reinstall 'av>=17'"
    )
    return Part('video', [('mp4 encoder', 'none')], [problem])
  return Part('video', [('mp4 encoder', f'{encoder} of PyAV {av.__version__}')])


def _optional(project):
  rows = []
  for name, use in OPTIONAL.items():
    found = 'found' if importlib.util.find_spec(name) else 'missing'
    rows.append((name, f'{found}; for {use}'))
  problem = (
    f'wandb is to log to {project} and is not installed: pip install wandb'
  )
  missing = project and not importlib.util.find_spec('wandb')
  return Part('optional packages', rows, [problem] if missing else [])
