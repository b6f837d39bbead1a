"""Arrays of a wrong shape or kind are refused by name, uncompiled.

The tests' own checks of shapes are off here: users run without them.
"""

import dataclasses
from unittest import mock

import hypothesis
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from hypothesis import strategies

import samples
import toys
from framebridge_jax import arrays, denoiser
from framebridge_jax.processes import sde
from framebridge_jax.samplers import ancestral, grids
from framebridge_jax.tasks import generate, plans

MODEL = samples.make()
KEYS = {n: jax.random.split(jax.random.key(0), n) for n in range(1, 5)}
# What is no floating number, no whole number, and no key.
NOT = {
  'floating': ['int32', 'uint8', 'bool', 'complex64', 'object'],
  'integer': ['float32', 'bool', 'complex64', 'object'],
  'key': ['uint32', 'float32', 'int32'],
}


@pytest.fixture(autouse=True)
def unchecked():
  """Without the annotations' checker, which would be faster than the code."""
  jaxtyping.config.update('jaxtyping_disable', True)
  yield
  jaxtyping.config.update('jaxtyping_disable', False)


def cases(count):
  """So many draws, the same in every run; fixtures serve them all."""
  return hypothesis.settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=count,
    phases=[hypothesis.Phase.generate],
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
  )


@strategies.composite
def shapes(draw):
  """Sides of a batch of small clips."""
  return tuple(draw(strategies.integers(1, 4)) for _ in range(5))


@strategies.composite
def spoilt(draw, kind, shape, free=()):
  """An array of this kind with one thing wrong, and how it must be called.

  Args:
    kind: of the numbers that were right.
    shape: that was right.
    free: axes whose side may be any but 0.
  """
  faults = ['kind', 'rank', 'list']
  faults += ['side'] if shape else []
  fault = draw(strategies.sampled_from(faults))
  dtype = {'floating': 'float32', 'integer': 'int32', 'key': 'uint32'}[kind]
  if fault == 'list':
    return draw(strategies.sampled_from([None, [1.0], 'clip', 3])), None
  if fault == 'kind':
    dtype = draw(strategies.sampled_from(NOT[kind]))
  elif fault == 'rank':
    extra = draw(strategies.sampled_from([0, len(shape)]))
    shape = (*shape[:extra], 1, *shape[extra:])
  else:
    axis = draw(strategies.integers(0, len(shape) - 1))
    others = [x for x in range(6) if x != shape[axis]]
    side = 0 if axis in free else draw(strategies.sampled_from(others))
    shape = (*shape[:axis], side, *shape[axis + 1 :])
  x = np.zeros(shape, dtype)
  return x, f'{x.dtype}{list(x.shape)}'


def _refuses(call, name, came, wanted, compilations):
  """Also checks that the call got nowhere near a compiler."""
  compilations.clear()
  with pytest.raises(ValueError) as error:
    call()
  assert not compilations
  said = str(error.value)
  assert said.startswith(f'{name} is '), said
  assert f', want {wanted}' in said, said
  assert came is None or f' is {came}, ' in said, said


def _task(frames, **changes):
  return dataclasses.replace(
    generate.Task(
      plan=plans.image_to_video(2, max(frames, 2))[:, :frames],
      grid=grids.uniform(MODEL.process, 2),
      conditioning=toys.conditioning(),
      pad_to=2,
    ),
    **changes,
  )


def _generate(shape, task=None, **changes):
  given = {
    'source': np.zeros(shape, np.float32),
    'label': np.zeros(shape[0], np.int32),
    'keys': KEYS[shape[0]],
    'guide': generate.Guidance(),
    'null_label': samples.NULL,
  }
  return generate.generate(
    MODEL,
    ancestral.Ancestral(),
    samples.TOY,
    task or _task(shape[1]),
    **(given | changes),
  )


# Argument of `generate` -> its kind, and its shape for clips of a shape.
ARGUMENTS = {
  'source': ('floating', lambda clip: clip, 'floating[b, f, h, w, c]'),
  'label': ('integer', lambda clip: clip[:1], 'integer[{0}]'),
  'keys': ('key', lambda clip: clip[:1], 'key[{0}]'),
  'null_label': ('integer', lambda clip: (), 'integer[]'),
}


@cases(300)
@hypothesis.given(strategies.data())
def test_a_wrong_argument_of_generate_is_named_with_what_came_and_is_wanted(
  compilations, data
):
  clip = data.draw(shapes())
  name = data.draw(strategies.sampled_from(sorted(ARGUMENTS)))
  kind, shape, wanted = ARGUMENTS[name]
  free = range(5) if name == 'source' else ()
  bad, came = data.draw(spoilt(kind, shape(clip), free))
  hypothesis.assume(name != 'null_label' or not isinstance(bad, int))
  if name == 'null_label':
    came = None  # it is shown as the array that it would become
  _refuses(
    lambda: _generate(clip, **{name: bad}),
    name,
    came,
    wanted.format(*clip),
    compilations,
  )


@cases(60)
@hypothesis.given(strategies.data())
def test_a_plan_that_is_none_of_the_clip_s_is_refused(compilations, data):
  clip = data.draw(shapes())
  bad, came = data.draw(spoilt('floating', (3, clip[1]), free=(0,)))
  task = _task(clip[1], plan=bad)
  wanted = f'floating[rows, {clip[1]}]'
  _refuses(
    lambda: _generate(clip, task), 'task.plan', came, wanted, compilations
  )


@cases(60)
@hypothesis.given(strategies.data())
def test_a_grid_that_does_not_map_progress_to_times_is_refused(
  compilations, data
):
  clip = data.draw(shapes())
  bad, came = data.draw(spoilt('floating', (3, clip[1])))
  task = _task(clip[1], grid=lambda u: bad)
  wanted = f'floating[3, {clip[1]}]'
  _refuses(
    lambda: _generate(clip, task), 'grid(plan)', came, wanted, compilations
  )


def test_a_grid_of_times_instead_of_a_function_is_refused(compilations):
  task = _task(4, grid=np.linspace(0, 1, 3))
  with pytest.raises(ValueError, match='task.grid is ndarray, want a function'):
    _generate((2, 4, 2, 2, 1), task)


@pytest.mark.parametrize('given', [(4,), (0, -1), (0, 7)])
def test_a_given_frame_outside_the_clip_is_refused(given):
  task = _task(4, given=given)
  with pytest.raises(ValueError, match='task.given is .* from 0 to 3'):
    _generate((2, 4, 2, 2, 1), task)


@cases(40)
@hypothesis.given(shapes())
def test_what_is_right_is_not_refused(clip):
  """Every shape gets as far as the compiler."""
  task = _task(clip[1], plan=np.full((3, clip[1]), 0.5))
  with pytest.MonkeyPatch.context() as patch:
    walked = mock.Mock()
    patch.setattr(generate, '_walk', lambda *_: walked)
    patch.setattr(generate.programs, 'finish', lambda how, clips, walk: clips)
    got = _generate(clip, task)
  assert got.source.shape == clip
  assert got.times.shape == (3, *clip[:2])
  assert got.label.shape == got.keys.shape == clip[:1]


# Border -> its arguments in the order of `_call`, by their own names.
BORDERS = {
  'perturb': ('z0', 'prior', 't', 'eps'),
  'denoiser': ('zt', 'given.prior', 't', 'given.noise'),
}


def _call(border, args):
  first, prior, t, noise = args
  if border == 'perturb':
    return sde.perturb(MODEL.process, first, prior, t, noise)
  given = denoiser.Given(prior=prior, cond=None, noise=noise)
  return MODEL(samples.TOY, first, t, given)


@cases(300)
@hypothesis.given(strategies.data())
def test_a_wrong_array_at_the_process_or_the_denoiser_is_named(
  compilations, data
):
  clip = data.draw(shapes())
  border = data.draw(strategies.sampled_from(sorted(BORDERS)))
  names = BORDERS[border]
  args = [np.zeros(clip[:2] if x == 't' else clip, np.float32) for x in names]
  which = data.draw(strategies.integers(0, 3))
  right = args[which].shape
  free = range(5) if which == 0 else ()
  args[which], came = data.draw(spoilt('floating', right, free))
  sides = 'b, f, h, w, c' if which == 0 else ', '.join(map(str, right))
  _refuses(
    lambda: _call(border, args),
    names[which],
    came,
    f'floating[{sides}]',
    compilations,
  )


def test_what_is_right_passes_both_borders():
  clip = (2, 4, 2, 2, 1)
  z = jnp.zeros(clip)
  t = jnp.full(clip[:2], 0.5)
  assert sde.perturb(MODEL.process, z, z, t, z).shape == clip
  for dtype in ('float32', 'bfloat16', 'float16'):
    for name, shape in (('z', clip), ('t', clip[:2])):
      arrays.require(name, jnp.zeros(shape, dtype), 'floating', shape)
