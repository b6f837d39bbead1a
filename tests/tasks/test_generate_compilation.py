"""One compilation serves many samples: what may not trace again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import samples
from framebridge_jax.samplers import table as samplers
from framebridge_jax.tasks import generate, plans, programs

# What must not compile again.  The loop is long, so that a network that is
# traced once a step would show.
LONG = 40
RUNS = [
  {'plan': plans.interpolate(7, 4), 'scale': 7.5},
  {'plan': plans.keyframes(LONG, 4, known='2'), 'scale': 2.0},
  {'plan': plans.extend(3, 4, overlap=2), 'scale': 0.5},
  {'plan': plans.next_frame(3, 4), 'seed': 5},
  {'plan': plans.edit_frames(3, np.array([0.0, 0.5, 0.2, 1.0]))},
]


# Names of one and the same sampler share their compilation, too.
DISTINCT = {make(): name for name, make in samplers.SAMPLERS.items()}


@pytest.mark.parametrize('sampler', DISTINCT, ids=DISTINCT.get)
@pytest.mark.parametrize('process', ['bridge', 'diffusion'])
def test_one_compilation_serves_scales_seeds_tasks_and_step_counts(
  process, sampler, monkeypatch
):
  """For every sampler, and the network is not traced once a step."""
  model = samples.make(
    {'bridge': samples.BRIDGE, 'diffusion': samples.DIFFUSION}[process]
  )

  def run(plan, scale=3.0, seed=0):
    return samples.draw(
      model,
      plan,
      sampler=sampler,
      pad_to=LONG + 1,
      guide=generate.Guidance(scale=scale),
      keys=samples.keys(range(2), seed),
    )

  # What jit traces once it compiles once; compiling all would take minutes.
  for name in ('prepare', 'advance', 'finish'):
    monkeypatch.setattr(programs, name, _traced(getattr(programs, name)))
  samples.TRACES.clear()
  run(plans.image_to_video(5, 4))
  first = len(samples.TRACES)
  for changes in RUNS:
    run(**changes)
  assert len(samples.TRACES) == first
  assert 0 < first < LONG / 2


def _traced(compiled):
  def program(*args):
    shapes = compiled.eval_shape(*args)
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)

  return program


def test_one_compilation_serves_all_of_these_in_fact():
  sampler = samplers.SAMPLERS['dbim3']()
  before = programs.advance._cache_size()
  for changes in ({'plan': plans.image_to_video(5, 4)}, *RUNS):
    got = samples.draw(
      samples.make(samples.BRIDGE),
      changes['plan'],
      sampler=sampler,
      pad_to=LONG,
      guide=generate.Guidance(scale=changes.get('scale', 3.0)),
      keys=samples.keys(range(2), changes.get('seed', 0)),
    )
    assert np.isfinite(got).all()
  assert programs.advance._cache_size() == before + 1
