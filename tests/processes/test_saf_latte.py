"""Ported networks as denoisers: diffusions, bridges, and bridges with SAF.

What is ported are the golden checkpoints of Latte, FVDM and FrameBridge.
"""

import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax import traverse_util

import teachers
import toys
from framebridge_jax import denoiser
from framebridge_jax.models import latte
from framebridge_jax.porting import latte as rows
from framebridge_jax.porting import readers, rules
from framebridge_jax.processes import bridge, clocks, diffusion, discrete, saf

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden'
FRAMES, SHAPE = 4, (2, 4, 8, 8, 4)
TEACHER = diffusion.Diffusion(schedule=discrete.Discrete())
LABEL = jnp.array([2, 4], jnp.int32)
# The teacher's own alpha^2, entry by entry, as Latte's code has it.
BARS = np.load(GOLDEN / 'latte_diffusion.npz')['alphas_cumprod']


@functools.cache
def _ported(name):
  """A golden's network and its parameters."""
  config = json.loads(str(np.load(GOLDEN / f'{name}.npz')['config']))
  with readers.open_weights(GOLDEN / f'{name}.pt') as reader:
    said = {'frames': FRAMES, 'channels': SHAPE[-1]}
    found = rows.look(reader.specs, {}, said)
    network = latte.Latte(
      patch=config['patch_size'],
      width=config['hidden_size'],
      depth=config['depth'],
      heads=config['num_heads'],
      **found.options,
    )
    ported = rules.port(
      reader,
      rows.rows(network, found.layout, **found.facts),
      rows.shapes(network, **found.facts),
      np.dtype(np.float32),
    )
  flat = {f'params/{n}': jnp.asarray(x) for n, x in ported.params.items()}
  return network, traverse_util.unflatten_dict(flat, sep='/')


@functools.partial(tiny.quick_jit, static_argnums=0)
def _answer(model, variables, zt, t, given):
  """The network in float32, all around it in float64."""
  return model(variables, zt, t, given)


def _given(seed=7):
  prior, image = _draw(seed), _draw(seed + 1)
  cond = latte.Cond(label=LABEL, prior=prior, image=image[:, :1])
  return denoiser.Given(prior, cond, _draw(seed + 2))


def _draw(seed):
  return jnp.asarray(np.random.default_rng(seed).normal(size=SHAPE))


def _teacher(network, prediction='eps'):
  return toys.make_denoiser(network, TEACHER, prediction, clock=clocks.Table())


CLASSES = 'latte_tiny_class', 'fvdm_tiny_class'
NETWORKS = (
  *CLASSES,
  'latte_tiny_uncond',
  'framebridge_latte_tiny_bridge',
  'framebridge_latte_tiny_bridge_neural',
)


@pytest.mark.parametrize('name', NETWORKS)
@pytest.mark.parametrize('kind', ['diffusion', 'bridge', 'bridge with SAF'])
def test_a_ported_network_answers_in_every_kind_of_denoiser(name, kind):
  """At one time a frame, both ends among them; given frames stay."""
  network, variables = _ported(name)
  process = teachers.BRIDGES['bridge_gmax']
  model = {
    'diffusion': _teacher(network),
    'bridge': toys.make_denoiser(network, process, 'psi'),
    'bridge with SAF': denoiser.align(_teacher(network, 'v'), process),
  }[kind]
  zt = _draw(0)
  t = jnp.asarray([[0.0, 0.3, 0.7, 1.0], [0.05, 0.5, 0.5, 0.999]])
  answer = _answer(model, variables, zt, t, _given())
  assert answer.x0.shape == SHAPE
  assert np.isfinite(answer.x0).all()
  np.testing.assert_array_equal(answer.x0[0, 0], zt[0, 0])
  assert (np.abs(answer.x0 - zt).max((2, 3, 4)) > 1e-3).sum() >= 7
  learned = network.learned_variance
  assert (answer.spread is not None) == learned
  if learned:
    assert np.isfinite(answer.spread).all()


# Entries of the teacher's table, a time for each frame and one for the clip.
ENTRIES = {
  'frames': np.array([[40, 200, 500, 800], [3, 350, 990, 650]]),
  'clip': np.array([[120] * 4, [700] * 4]),
}


@pytest.mark.parametrize('which', ENTRIES)
@pytest.mark.parametrize('prediction', ['eps', 'v'])
@pytest.mark.parametrize('name', CLASSES)
def test_at_initialisation_saf_says_what_the_teacher_says_on_its_own_inputs(
  name, prediction, which
):
  """FrameBridge Proposition 2 with a real Latte, ported.

  The bridge latent is k z~ + b prior, where z~ is the teacher's own clip at
  an entry of its table and k = c / sigma, at the time of equal SNR.
  """
  network, variables = _ported(name)
  entries = ENTRIES[which]
  alpha, sigma = np.sqrt(BARS[entries]), np.sqrt(1 - BARS[entries])
  own = _draw(0)
  given = _given()
  plain = _teacher(network, prediction)
  want = _answer(
    plain, variables, own, jnp.asarray((entries + 1) / 1000), given
  )

  t = teachers.time_of('bridge_gmax', (alpha / sigma) ** 2)
  _, b, c = teachers.marginal('bridge_gmax', t)
  zt = teachers.line_up(c / sigma) * own + teachers.line_up(b) * given.prior
  got = _answer(
    denoiser.align(plain, teachers.BRIDGES['bridge_gmax']),
    variables,
    zt,
    jnp.asarray(t),
    given,
  )
  # eps is worth 1 / alpha in x0: errors are measured in what the network says.
  scale = teachers.line_up(sigma / alpha if prediction == 'eps' else sigma)
  error = np.abs(np.asarray(got.x0 - want.x0)) / np.maximum(scale, 1)
  assert error.max() < 1e-5
  np.testing.assert_allclose(got.spread, want.spread, atol=1e-5)


def test_without_saf_the_same_network_says_something_else():
  """What the equality above is worth: a bridge as it is shown is far off."""
  network, variables = _ported('fvdm_tiny_class')
  entries = ENTRIES['frames']
  alpha, sigma = np.sqrt(BARS[entries]), np.sqrt(1 - BARS[entries])
  own, given = _draw(0), _given()
  plain = _teacher(network, 'v')
  t = teachers.time_of('bridge_gmax', (alpha / sigma) ** 2)
  _, b, c = teachers.marginal('bridge_gmax', t)
  zt = teachers.line_up(c / sigma) * own + teachers.line_up(b) * given.prior
  want = _answer(
    plain, variables, own, jnp.asarray((entries + 1) / 1000), given
  )
  process: bridge.Bridge = teachers.BRIDGES['bridge_gmax']
  unaligned = toys.make_denoiser(network, process, 'v', clock=clocks.Table())
  got = _answer(unaligned, variables, zt, jnp.asarray(t), given)
  assert np.abs(got.x0 - want.x0).max() > 0.1


def test_the_gradient_of_an_aligned_latte_is_finite_at_every_time():
  """Fine-tuning starts here, known frames and T included."""
  network, variables = _ported('fvdm_tiny_class')
  model = denoiser.align(
    _teacher(network, 'v'), teachers.BRIDGES['bridge_gmax'], saf.Own()
  )
  t = jnp.asarray([[0.0, 0.3, 0.7, 1.0], [0.0, 1e-3, 0.5, 1.0]])

  def error(variables):
    return jnp.mean(model(variables, _draw(0), t, _given()).x0 ** 2)

  grads = jax.tree.leaves(tiny.quick_jit(jax.grad(error))(variables))
  assert all(np.isfinite(grad).all() for grad in grads)
  assert max(np.abs(grad).max() for grad in grads) > 1e-3
