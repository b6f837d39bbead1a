"""From given frames to the prior, and to what a network sees."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

import samples
import toy_losses
from configs import framebridge_ucf101
from framebridge_jax import build, denoiser, jobs
from framebridge_jax.models import latte, prior_network
from framebridge_jax.processes import diffusion, priors
from framebridge_jax.samplers import ancestral, grids
from framebridge_jax.tasks import generate

F = tiny.make_latte(timed=False, prior=False)
NEURAL = denoiser.Neural(network=F)
FORMULA = denoiser.Formula(prior=priors.replicate)
GIVEN = jnp.array([[True, False, False, False], [False, True, False, True]])
NEAREST = np.array([[0, 0, 0, 0], [1, 1, 1, 3]])
LABEL = jnp.array([3, 1], jnp.int32)


@pytest.fixture(scope='module')
def variables():
  """The bridge's own parameters are not F's business."""
  return {'prior': tiny.shaken(tiny.init(F))['params']}


def _clips(seed=0):
  shape = (2, tiny.FRAMES, tiny.SIZE, tiny.SIZE, tiny.CHANNELS)
  rng = np.random.default_rng(seed)
  return jnp.asarray(rng.normal(size=shape), jnp.float32)


def _spoiled(clips):
  """NaN wherever no frame is given."""
  return jnp.where(GIVEN[:, :, None, None, None], clips, jnp.nan)


def _nearest(clips):
  """Each frame's nearest given frame, in numpy."""
  clips = np.asarray(clips)
  return np.stack([clip[i] for clip, i in zip(clips, NEAREST, strict=True)])


def _f(variables, image, label):
  """F by hand: the network, at any time, of images laid out as a clip."""
  t, cond = jnp.full(image.shape[:2], 123.0), latte.Cond(label=label)
  apply = tiny.quick_jit(F.apply)
  return apply({'params': variables['prior']}, jnp.asarray(image), t, cond)


@pytest.mark.parametrize(
  ('prior', 'shown'),
  [
    (FORMULA, None),
    (FORMULA, FORMULA),
    (FORMULA, NEURAL),
    (NEURAL, NEURAL),
    (NEURAL, None),
  ],
  ids=['plain', 'replicate', 'replicate+F', 'neural', 'neural, not shown'],
)
def test_prior_and_channels_are_made_of_given_frames_alone(
  variables, prior, shown
):
  clips, noise = _clips(), jnp.full_like(_clips(), jnp.nan)
  make = denoiser.Conditioning(prior=prior, shown=shown)
  got, cond = tiny.quick_jit(make)(
    variables, _spoiled(clips), GIVEN, LABEL, noise
  )
  image = _nearest(clips)
  want = {FORMULA: image, NEURAL: _f(variables, image, LABEL)}
  assert np.abs(want[FORMULA] - want[NEURAL]).max() > 0.1
  np.testing.assert_allclose(got, want[prior], atol=1e-5)
  if shown is None:
    assert cond.prior is None
  else:
    np.testing.assert_allclose(cond.prior, want[shown], atol=1e-5)
  np.testing.assert_array_equal(cond.anchor, NEAREST)
  np.testing.assert_array_equal(cond.label, LABEL)
  np.testing.assert_array_equal(cond.image, image[:, :1])


def test_a_formula_gets_the_noise_and_no_parameters():
  noise = _clips(1)
  formula = denoiser.Formula(prior=priors.gaussian)
  got = formula(None, _spoiled(_clips()), GIVEN, LABEL, noise)
  want = np.where(np.asarray(GIVEN)[:, :, None, None, None], _clips(), noise)
  np.testing.assert_array_equal(got, want)


def test_what_is_shown_as_the_prior_is_computed_once(variables, monkeypatch):
  """F costs as much as a step of sampling."""
  calls = []

  def counted(network, variables, image, label):
    calls.append(label)
    return image

  monkeypatch.setattr(prior_network, 'predict', counted)
  equal = denoiser.Neural(network=tiny.make_latte(timed=False, prior=False))
  make = denoiser.Conditioning(prior=NEURAL, shown=equal)
  make(variables, _clips(), GIVEN, LABEL, _clips())
  assert len(calls) == 1


def test_the_neural_prior_gets_no_gradient_and_the_bridge_does(variables):
  network = tiny.make_latte()
  params = {**tiny.shaken(tiny.init(network)), **variables}
  loss = toy_losses.make(
    network,
    conditioning=denoiser.Conditioning(prior=NEURAL, shown=NEURAL),
  )
  run = tiny.quick_jit(jax.value_and_grad(loss, has_aux=True))
  batch, keys = toy_losses.make_batch(2), toy_losses.keys(2)
  (value, _), grads = run(params, batch, keys)
  for grad in jax.tree.leaves(grads['prior']):
    np.testing.assert_array_equal(grad, np.zeros(grad.shape))
  kernel = grads['params']['patches']['kernel']
  # The last half of a pixel's channels is F's, which the network does hear.
  by_pixel = np.asarray(kernel).reshape(16, 2, tiny.CHANNELS, -1)
  assert (np.abs(by_pixel).max((0, 2, 3)) > 1e-6).all()
  other = {**params, 'prior': jax.tree.map(jnp.zeros_like, variables['prior'])}
  assert abs(run(other, batch, keys)[0][0] - value) > 1e-3 * value


@pytest.mark.parametrize('scale', [0.0, 3.0])
def test_guidance_changes_the_network_s_label_and_never_that_of_F(
  variables, scale
):
  """The network answers with what it is shown: F of the clip's own class."""
  process = samples.BRIDGE
  source = _clips()
  got = generate.generate(
    samples.make(process, samples.Says('prior')),
    ancestral.Ancestral(),
    variables,
    generate.Task(
      plan=samples.ONE_STEP,
      grid=grids.uniform(process, 1),
      conditioning=denoiser.Conditioning(prior=NEURAL, shown=NEURAL),
      pad_to=1,
    ),
    source=source,
    label=LABEL,
    keys=samples.keys(range(2)),
    guide=generate.Guidance(scale=scale),
    null_label=samples.NULL,
  )
  image = jnp.repeat(source[:, :1], tiny.FRAMES, axis=1)
  want, null = (
    _f(variables, image, label)
    for label in (LABEL, jnp.full_like(LABEL, samples.NULL))
  )
  assert np.abs(want - null).max() > 1e-2
  np.testing.assert_allclose(got[:, 1:], want[:, 1:], atol=1e-5)


# FrameBridge, Table 5: arguments -> is it a bridge, its prior, what is shown.
TABLE_5 = {
  'prior=gaussian': (False, None, None),
  'prior=gaussian,f=true': (False, None, 'F'),
  'prior=replicate': (True, 'image', 'image'),
  'prior=replicate,f=true': (True, 'image', 'F'),
  'prior=neural': (True, 'F', 'F'),
}


@pytest.mark.parametrize('argument', TABLE_5)
def test_table_5_has_five_models(argument):
  bridge, prior, shown = TABLE_5[argument]
  config = framebridge_ucf101.get_config(argument)
  rows = {'image': FORMULA, None: None}
  if 'F' in (prior, shown):
    rows['F'] = denoiser.Neural(
      network=latte.MODELS['latte_s2'](
        classes=101, timed=False, dtype=jnp.bfloat16
      )
    )
  made = build.make_conditioning(config)
  assert made.shown == rows[shown]
  process = build.make_process(config)
  assert isinstance(process, diffusion.Diffusion) == (not bridge)
  if bridge:
    assert made.prior == rows[prior]
  names = {'params', 'prior'} if 'F' in (prior, shown) else {'params'}
  assert jobs.abstract_params(config).keys() == names
