"""The settings of conftest.py hold: they would otherwise be silent."""

import importlib.util

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

SOURCE = """
import jaxtyping
import numpy as np

def first(video: jaxtyping.Float[np.ndarray, 'f h w c'], scale: float):
  return video[0] * scale
"""


def test_four_cpu_devices():
  assert [d.platform for d in jax.devices()] == ['cpu'] * 4


def test_float32_outside_the_float64_folders():
  assert jnp.ones(2).dtype == jnp.float32


def test_rank_promotion_raises():
  with pytest.raises(ValueError, match='rank_promotion'):
    jnp.ones((2, 3)) + jnp.ones(3)


def test_dtype_promotion_is_strict():
  with pytest.raises(ValueError, match='dtype promotion'):
    jnp.ones(2, jnp.float32) + jnp.ones(2, jnp.bfloat16)


def test_the_package_is_imported_through_the_shape_hook():
  loader = importlib.util.find_spec('framebridge_jax.version').loader
  assert type(loader).__module__.startswith('jaxtyping')


def test_wrong_shape_raises_and_an_int_is_a_float(tmp_path, monkeypatch):
  (tmp_path / 'hooked_sample.py').write_text(SOURCE)
  monkeypatch.syspath_prepend(tmp_path)
  with jaxtyping.install_import_hook('hooked_sample', 'annotations.check'):
    module = importlib.import_module('hooked_sample')
  video = np.ones((2, 4, 4, 3), np.float32)
  assert module.first(video, 2).shape == (4, 4, 3)
  with pytest.raises(jaxtyping.TypeCheckError):
    module.first(video[0], 2)
  with pytest.raises(jaxtyping.TypeCheckError):
    module.first(video.astype(np.uint8), 2)
