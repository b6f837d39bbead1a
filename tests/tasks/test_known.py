"""Known frames come back to the bit: every task, sampler and type of number."""

import jax.numpy as jnp
import numpy as np
import pytest

import samples
from framebridge_jax.samplers import table as samplers
from framebridge_jax.tasks import generate, plans

# Tasks with known frames of a clip of four, and these.
TASKS = {
  'i2v': ({}, [0]),
  'interpolate': ({}, [0, 3]),
  'keyframes': ({'known': '1 2'}, [1, 2]),
  'extend': ({'overlap': 2}, [0, 1]),
  'transition': ({'overlap': 1}, [0, 3]),
  'loop': ({}, [0, 3]),
  'next_frame': ({}, [0, 1, 2]),
  'inpaint_time': ({'missing': '2'}, [0, 1, 3]),
  'progressive': ({'first': 0, 'slope': 0.4}, [0]),
  'rolling': ({'overlap': 2}, [0, 1]),
  'edit': ({'strengths': '0 0.2 0 0.9'}, [0, 2]),
}
DISTINCT = {make(): name for name, make in samplers.SAMPLERS.items()}


def test_tasks_without_known_frames_are_left_out_and_no_others():
  assert set(plans.TASKS) - set(TASKS) == {'generate', 'staggered'}


def _check(sampler, dtype=jnp.float32, **more):
  """All tasks of one sampler share a compilation."""
  source = samples.pixels().astype(dtype)
  for name, (options, known) in TASKS.items():
    plan = plans.TASKS[name](4, 4, **options)
    assert plans.known_frames(plan) == tuple(known)
    got = samples.draw(
      samples.make(samples.BRIDGE), plan, sampler=sampler, source=source, **more
    )
    assert got.dtype == dtype
    np.testing.assert_array_equal(got[:, known], source[:, known])
    others = np.delete(np.asarray(got != source), known, axis=1)
    assert others.reshape(*others.shape[:2], -1).any(axis=-1).all()
    assert np.isfinite(np.asarray(got, np.float32)).all()


@pytest.mark.parametrize('sampler', DISTINCT, ids=DISTINCT.get)
def test_known_frames_come_back_to_the_bit(sampler):
  _check(sampler)


@pytest.mark.parametrize('dtype', ['bfloat16', 'float16'])
def test_known_frames_of_half_precision_come_back_to_the_bit(dtype):
  _check(samplers.SAMPLERS['dbim2'](), jnp.dtype(dtype))


def test_known_frames_come_back_to_the_bit_whatever_moves_the_others():
  """Guided, shown with noise, hot, and watched."""
  _check(
    samplers.SAMPLERS['ancestral'](),
    guide=generate.Guidance(scale=5.0, rescale=0.7, start=0.1),
    motion={'known_time': 0.1, 'image_noise': 0.5, 'temperature': 1.3},
    watch=generate.Watch(lambda preview: None, 2),
  )
