"""What the package ships says nothing of the machine that made it."""

import pytest

from framebridge_jax import build
from framebridge_jax.porting import weights

SHIPPED = sorted(build.ASSETS.glob('*.safetensors'))


@pytest.mark.parametrize('path', SHIPPED, ids=lambda path: path.stem)
def test_shipped_weights_do_not_say_where_the_data_stood(path):
  told = weights.config_of(path)
  assert (told['data_dir'], told['cache_dir']) == ('', '')
