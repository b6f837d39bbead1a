"""What JAX computes on, how well, and why it is not what was asked for."""

import glob
import importlib.metadata
import shutil
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

from framebridge_jax.cli import runs

ACCELERATORS = ('gpu', 'tpu')
KINDS = ('cpu', *ACCELERATORS)

_PLUGINS = {'gpu': ('jax-cuda', 'jax-rocm'), 'tpu': ('libtpu',)}
_PLATFORMS = {
  'cpu': ('cpu',),
  'gpu': ('gpu', 'cuda', 'rocm'),
  'tpu': ('tpu',),
}
_FILES = {'gpu': '/dev/nvidia[0-9]*', 'tpu': '/dev/accel[0-9]*'}
_PROGRAMS = {'gpu': 'nvidia-smi'}


class DeviceError(ValueError):
  """JAX does not compute on what was asked for."""

  exit_code = 2


def require(kind: str) -> None:
  """Stops when JAX computes on something else.

  Args:
    kind: one of KINDS; '' takes whatever there is, and starts nothing.

  Raises:
    DeviceError: JAX has other devices; the message says why, if that is known.
  """
  if kind == '':
    return
  if kind not in KINDS:
    raise DeviceError(f'require is {kind!r}, want one of {", ".join(KINDS)}')
  if backend() != kind:
    raise DeviceError(
      f'require is {kind!r} and JAX sees only {runs.device_name()}; '
      f'{why_not(kind)}'
    )


def backend() -> str:
  """The kind of JAX's devices.

  Raises:
    DeviceError: JAX finds none at all.
  """
  try:
    return jax.default_backend()
  # The latter without a word, where JAX_PLATFORMS is cuda and no GPU is there.
  except (RuntimeError, AssertionError) as error:
    words = ' '.join(str(error).split())
    words = words or f'no device of JAX_PLATFORMS={_platforms()}'
    raise DeviceError(f'JAX cannot start: {words}') from None


def why_not(kind: str) -> str:
  """What keeps JAX from a kind of devices, and what helps."""
  wanted = _platforms()
  if wanted and not set(wanted.split(',')) & set(_PLATFORMS[kind]):
    return f'JAX_PLATFORMS is {wanted!r}, so leave it unset'
  if kind == 'cpu':
    return 'set JAX_PLATFORMS=cpu'
  if not _installed(_PLUGINS[kind]):
    return (
      f'jax is installed without its {kind} plugin, so install the extra: '
      f"pip install 'framebridge_jax[{kind}]'"
    )
  if not seen(kind):
    return (
      f'its plugin is installed, but no {kind} is visible here, so look at '
      f'the driver and at what the job or the container was given'
    )
  return (
    f'its plugin is installed and a {kind} is there, so read the warnings of '
    f'JAX above, and compare the versions of jax, plugin and driver'
  )


def seen(kind: str) -> str:
  """A trace of such a device on this machine, whatever JAX sees; '': none."""
  files = sorted(glob.glob(_FILES[kind]))
  program = _PROGRAMS.get(kind, '')
  return files[0] if files else program if shutil.which(program) else ''


def matmul_rate(dtype: str, seconds: float) -> tuple[float, int]:
  """Measures products of square matrices.

  Args:
    dtype: of the matrices.
    seconds: to repeat for, after a first product that is not counted.

  Returns:
    GFLOP/s by the median of the repeats, and the side of the matrices.
  """
  side = 8192 if jax.default_backend() in ACCELERATORS else 1024
  x = jax.random.normal(jax.random.key(0), (side, side), jnp.dtype(dtype))
  product = jax.jit(jnp.matmul)
  jax.block_until_ready(product(x, x))
  taken = []
  while len(taken) < 3 or sum(taken) < seconds:
    start = time.perf_counter()
    jax.block_until_ready(product(x, x))
    taken.append(time.perf_counter() - start)
  return 2 * side**3 / statistics.median(taken) / 1e9, side


def matmul_error(dtype: str) -> float:
  """Relative error of a product of rounded numbers, against float64's."""
  rng = np.random.default_rng(0)
  x, y = (jnp.asarray(rng.normal(size=(256, 256)), dtype) for _ in 'xy')
  want = np.asarray(x, np.float64) @ np.asarray(y, np.float64)
  got = np.asarray(jnp.matmul(x, y), np.float64)
  return float(np.linalg.norm(got - want) / np.linalg.norm(want))


def _platforms():
  """What JAX was told to look for; '' where nothing was said."""
  return jax.config.values['jax_platforms'] or ''


def _installed(prefixes):
  names = (item.metadata['Name'] for item in importlib.metadata.distributions())
  return any(name and name.lower().startswith(prefixes) for name in names)
