"""Sampling at its border: what a sample's result may depend on."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

import samples
import toys
from framebridge_jax.processes import clocks
from framebridge_jax.samplers import ancestral, grids
from framebridge_jax.tasks import generate, plans, programs
from framebridge_jax.training import sharding

B, PAD = 8, 6
MODEL = tiny.make_denoiser(tiny.make_latte(anchor=True))
SAMPLER = ancestral.Ancestral()


class Wish(nn.Module):
  """Wishes for the clip that is its parameter, whatever it is shown."""

  @nn.compact
  def __call__(self, z, t, cond):
    clip = self.param('clip', nn.initializers.zeros_init(), z.shape)
    return clip - cond.prior


@pytest.fixture(scope='module')
def variables():
  return tiny.shaken(tiny.init(tiny.make_latte(anchor=True)))


def _source(batch=B, seed=0):
  shape = (batch, tiny.FRAMES, tiny.SIZE, tiny.SIZE, 3)
  values = np.random.default_rng(seed).uniform(-1, 1, shape)
  return jnp.asarray(values, jnp.float32)


LABELS = jnp.arange(B, dtype=jnp.int32) % tiny.CLASSES


def _task(num_steps=3, plan=plans.image_to_video):
  return generate.Task(
    plan=plan(num_steps, tiny.FRAMES),
    grid=grids.quadratic(MODEL.process, num_steps),
    conditioning=toys.conditioning(),
    pad_to=PAD,
  )


def _generate(variables, *, rows=slice(None), model=MODEL, **changes):
  """Samples these rows of the batch of 8."""
  given = {
    'task': _task(),
    'source': _source()[rows],
    'label': LABELS[rows],
    'keys': samples.keys(range(B))[rows],
    'guide': generate.Guidance(),
    'null_label': samples.NULL,
    'sampler': SAMPLER,
  }
  if 'scale' in changes:
    changes['guide'] = generate.Guidance(scale=changes.pop('scale'))
  given |= changes
  sampler, task = given.pop('sampler'), given.pop('task')
  return generate.generate(model, sampler, variables, task, **given)


@pytest.fixture(scope='module')
def eight(variables):
  """What the batch of 8 gives; every other test compares with it."""
  return _generate(variables)


def _relative(got, want):
  return np.abs(got - want).max() / np.abs(want).max()


def test_a_sample_s_noise_is_bit_equal_alone_and_among_eight():
  keys = samples.keys(range(B))
  together = programs.walk_noise(keys, jnp.asarray(4), _source())
  for row in (0, 5):
    alone = programs.walk_noise(keys[row : row + 1], jnp.asarray(4), _source(1))
    np.testing.assert_array_equal(alone[0], together[row])
  other = programs.walk_noise(keys, jnp.asarray(5), _source())
  assert np.abs(np.corrcoef(other.ravel(), together.ravel())[0, 1]) < 0.1


def test_noise_is_bit_equal_on_one_and_on_four_devices():
  mesh = sharding.make_mesh({'data': 4, 'fsdp': 1, 'tensor': 1, 'frames': 1})
  keys, like = jax.device_put(
    (samples.keys(range(B)), _source()), sharding.batch_sharding(mesh)
  )
  split = jax.jit(programs.walk_noise)(keys, jnp.asarray(4), like)
  assert len(split.sharding.device_set) == 4
  whole = programs.walk_noise(samples.keys(range(B)), jnp.asarray(4), _source())
  np.testing.assert_array_equal(split, whole)


def test_a_sample_is_the_same_alone_and_among_eight(variables, eight):
  for row in (0, 5):
    alone = _generate(variables, rows=slice(row, row + 1))
    assert _relative(alone[0], eight[row]) < 1e-5


def test_samples_and_seeds_differ(variables, eight):
  source, label = _source()[:1].repeat(B, axis=0), LABELS[:1].repeat(B)
  same = _generate(variables, source=source, label=label)
  gaps = np.abs(same[:, None] - same[None])[:, :, 1:].max((2, 3, 4, 5))
  assert gaps[~np.eye(B, dtype=bool)].min() > 1e-2
  other = _generate(variables, keys=samples.keys(range(B), seed=1))
  assert (np.abs(other - eight)[:, 1:].max((1, 2, 3, 4)) > 1e-2).all()


def test_samples_are_the_same_on_one_and_on_four_devices(variables, eight):
  mesh = sharding.make_mesh({'data': 4, 'fsdp': 1, 'tensor': 1, 'frames': 1})
  split = sharding.batch_sharding(mesh)
  whole = jax.sharding.NamedSharding(mesh, jax.P())
  source, label, keys = jax.device_put(
    (_source(), LABELS, samples.keys(range(B))), split
  )
  got = _generate(
    jax.device_put(variables, whole), source=source, label=label, keys=keys
  )
  assert len(got.sharding.device_set) == 4
  assert _relative(got, eight) < 1e-5


def test_known_frames_come_back_to_the_bit_and_others_do_not(variables, eight):
  source = _source()
  np.testing.assert_array_equal(eight[:, 0], source[:, 0])
  assert (np.abs(eight - source)[:, 1:].max((2, 3, 4)) > 1e-2).all()
  ends = _generate(variables, task=_task(plan=plans.interpolate))
  np.testing.assert_array_equal(ends[:, [0, -1]], source[:, [0, -1]])
  assert (np.abs(ends - source)[:, 1:-1].max((2, 3, 4)) > 1e-2).all()


def test_unknown_frames_of_the_source_are_not_read(variables, eight):
  spoiled = _source().at[:, 1:].set(jnp.nan)
  np.testing.assert_array_equal(_generate(variables, source=spoiled), eight)


def test_a_plan_longer_than_the_loop_is_refused(variables):
  with pytest.raises(ValueError, match=rf'{PAD + 1} steps.*loop {PAD};'):
    _generate(variables, task=_task(PAD + 1))


def test_guidance_of_scale_zero_is_sampling_the_null_class(variables, eight):
  null = _generate(variables, label=jnp.full_like(LABELS, samples.NULL))
  got = _generate(variables, scale=0.0)
  assert _relative(got, null) < 1e-5
  assert _relative(eight, null) > 1e-2


def test_guidance_of_the_null_class_is_nothing(variables):
  """Whatever the scale: the two answers are one."""
  labels = jnp.full_like(LABELS, samples.NULL)
  plain = _generate(variables, label=labels)
  assert _relative(_generate(variables, label=labels, scale=5.0), plain) < 1e-5


def test_guidance_goes_beyond_the_conditional_answer(variables, eight):
  """Along the line from null to conditional, in the first and only step."""
  task = _task(1)
  null, one, three = (
    _generate(variables, task=task, scale=scale) for scale in (0.0, 1.0, 3.0)
  )
  np.testing.assert_allclose(three - null, 3 * (one - null), atol=2e-4)


def test_a_network_that_knows_the_clip_animates_it():
  """Whatever the noise: the last step lands on the answer."""
  wish = _source(seed=3)
  got = _generate({'params': {'clip': wish}}, model=tiny.make_denoiser(Wish()))
  np.testing.assert_allclose(got[:, 1:], wish[:, 1:], atol=2e-6)
  np.testing.assert_array_equal(got[:, 0], _source()[:, 0])


def test_a_diffusion_generates_with_a_real_network(variables):
  model = dataclasses.replace(
    samples.make(samples.DIFFUSION, MODEL.network, 'v'),
    clock=clocks.Continuous(),
  )
  got = _generate(variables, model=model)
  np.testing.assert_array_equal(got[:, 0], _source()[:, 0])
  assert np.isfinite(got).all()
  assert (np.abs(got - _source())[:, 1:].max((2, 3, 4)) > 1e-2).all()
