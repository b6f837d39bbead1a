"""Test settings: four CPU devices, strict promotion, checked shapes, float64.

The environment is set before jax is imported, and the import hook before the
package is: it checks every annotated call of framebridge_jax, shapes included.
"""

import atexit
import os
import pathlib
import shutil
import sys
import tempfile

FLOAT64_FOLDERS = ('processes', 'samplers')


def _set_environment():
  os.environ['JAX_PLATFORMS'] = 'cpu'
  count = '--xla_force_host_platform_device_count'
  flags = os.environ.get('XLA_FLAGS', '')
  if count not in flags:
    os.environ['XLA_FLAGS'] = f'{flags} {count}=4'.strip()
  # The first process of a session makes it, pytest's workers inherit it.
  if 'FRAMEBRIDGE_COMPILED' not in os.environ:
    folder = tempfile.mkdtemp(prefix='framebridge_compiled_')
    os.environ['FRAMEBRIDGE_COMPILED'] = folder
    atexit.register(shutil.rmtree, folder, ignore_errors=True)


assert 'jax' not in sys.modules, 'a pytest plugin imported jax too early'
assert 'framebridge_jax' not in sys.modules, 'imported before the shape checks'
_set_environment()

import jax  # noqa: E402
import jaxtyping  # noqa: E402
import pytest  # noqa: E402
from absl import flags  # noqa: E402

jaxtyping.install_import_hook('framebridge_jax', 'annotations.check')
jax.config.update('jax_numpy_rank_promotion', 'raise')
jax.config.update('jax_numpy_dtype_promotion', 'strict')
flags.FLAGS.mark_as_parsed()  # grain's workers read absl flags


@pytest.fixture(autouse=True, scope='module')
def float64(request):
  """Computes in float64 where tests compare mathematics, float32 elsewhere."""
  folder = request.path.relative_to(pathlib.Path(__file__).parent).parts[0]
  with jax.enable_x64(folder in FLOAT64_FOLDERS):
    yield


@pytest.fixture(scope='module')
def quick_compilation():
  """Compiles in half the time; the numbers stay float32's."""
  name = 'jax_disable_most_optimizations'
  before = jax.config.values[name]
  jax.config.update(name, True)
  yield
  jax.config.update(name, before)


@pytest.fixture
def compilations():
  """Seconds of every compilation since the test began."""
  found = []

  def listen(event, seconds, **kwargs):
    if event == '/jax/core/compile/backend_compile_duration':
      found.append(seconds)

  jax.monitoring.register_event_duration_secs_listener(listen)
  yield found
  jax.monitoring.unregister_event_duration_listener(listen)
