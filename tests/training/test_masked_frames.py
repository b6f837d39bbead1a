"""Neither the ends of time nor what known frames hide makes a loss NaN.

Every process, prediction and view that check.py lets through, with a network
that mixes the frames, so that one NaN would reach them all.
"""

import dataclasses
import functools
import itertools

import flax.linen as nn
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from hypothesis import strategies
from hypothesis.extra import numpy

import toy_losses
import toys
from framebridge_jax import arrays, denoiser
from framebridge_jax.arrays import SampleKeys
from framebridge_jax.processes import bridge, diffusion, predictions, times
from framebridge_jax.processes import table as processes
from framebridge_jax.training import losses

B, F = 12, 5
SHARES = strategies.one_of(
  strategies.sampled_from(
    [0.0, 1e-30, 1e-12, 1e-6, 0.001, 0.999, 1 - 1e-6, 1 - 2**-24, 1.0]
  ),
  strategies.floats(0, 1, width=32, allow_subnormal=False),
)
TIMES = numpy.arrays(
  np.float32, (B, F), elements=SHARES, fill=strategies.nothing()
)
quick = hypothesis.settings(
  derandomize=True,
  database=None,
  deadline=None,
  max_examples=20,
  phases=[hypothesis.Phase.generate],
  suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)


class Mixing(nn.Module):
  """Every frame of the answer hears all frames; in a dtype of its own."""

  dtype: jnp.dtype
  parts: int = 1

  @nn.compact
  def __call__(self, z, t, cond):
    weight = self.param('weight', nn.initializers.ones_init(), (1,) * 5)
    z, t, weight = (x.astype(self.dtype) for x in (z, t, weight))
    heard = (
      jnp.mean(z, axis=1, keepdims=True) + 1e-3 * t[:, :, None, None, None]
    )
    answer = jnp.tanh(weight * (z + heard))
    return jnp.concatenate([answer] * self.parts, axis=-1)


@dataclasses.dataclass(frozen=True, eq=False)
class At:
  """Draws these shares of the way."""

  shares: jax.Array

  def __call__(self, keys: SampleKeys, count: int):
    return self.shares[:, :count]


def _accepted():
  """(name, process) of every schedule that a bridge or a diffusion takes."""
  for name, make in processes.SCHEDULES.items():
    yield f'diffusion-{name}', diffusion.Diffusion(schedule=make())
    if not make().fades_out:
      yield f'bridge-{name}', bridge.Bridge(schedule=make())


ACCEPTED = dict(_accepted())
# Their formulas are those of another row, with other numbers.
QUICK = 'bridge-bridge_gmax', 'diffusion-edm', 'diffusion-flow'
ALIKE = {
  f'{process}-{name}'
  for process in processes.PROCESSES
  for name in ('bridge_gconst', 'table_scaled_linear', 'table_cosine')
}


def _models(process, dtypes, views):
  """Every prediction that goes with the process, in turns of dtype and view."""
  dtypes = itertools.cycle(map(jnp.dtype, dtypes))
  is_bridge = isinstance(process, bridge.Bridge)

  def make(process, *names, parts=1):
    network = Mixing(dtype=next(dtypes), parts=parts)
    return toys.make_denoiser(network, process, *names)

  for name, shown in zip(('x0', 'v', 'flow', 'edm'), views, strict=False):
    for view in shown:
      yield make(process, name, view)
  yield make(process, 'eps')  # psi is eps; neither goes with the residual
  if is_bridge:
    teacher = diffusion.Diffusion(schedule=processes.SCHEDULES['vp']())
    for name in ('eps', 'v'):
      yield denoiser.align(make(teacher, name), process)
  else:
    yield make(process, 'eps', parts=2)


def _encode(video):
  return video.astype(jnp.float32) / 127.5 - 1


def _loss(model, shares, weight=losses.SnrWeight(), hold_given=True):  # noqa: B008
  """Loss and gradient of small clips at these shares of the way."""
  loss = losses.DenoiserLoss(
    denoiser=model,
    encode=_encode,
    conditioning=toys.conditioning(),
    weight=weight,
    task_mix=(('first', 1.0),),
    hold_given=hold_given,
    times=times.Ptss(draw=At(shares), p_frames=1.0, t_min=0.0),
    label_dropout=0.0,
    null_label=3,
  )
  rng = np.random.default_rng(0)
  batch = {
    'video': jnp.asarray(rng.integers(0, 256, (B, F, 2, 2, 1)), jnp.uint8),
    'label': jnp.zeros(B, jnp.int32),
  }
  weigh = functools.partial(loss, batch=batch, keys=toy_losses.keys(B))
  (value, _), grads = jax.value_and_grad(weigh, has_aux=True)(toys.BENT)
  return value, *jax.tree.leaves(grads)


def _reachable(shares):
  """From 1e-6 on, the least `times.t_min`; T is 100 at most."""
  return jnp.where(shares > 0, jnp.maximum(shares, 1e-8), shares)


@pytest.fixture
def unheard(monkeypatch):
  """All noise of the known frame, the first, is NaN."""
  plain = arrays.normal_like

  def draw(keys, like):
    return plain(keys, like).at[:, 0].set(jnp.nan)

  monkeypatch.setattr(arrays, 'normal_like', draw)


def _all_finite(models):
  """Losses and gradients, with one weight or the other by turns.

  A learned variance, and a weight on targets of noise, grow beyond measure
  below the times that training can draw.
  """
  own = losses.OwnTarget()
  weights = itertools.cycle([losses.SnrWeight(), own, own])
  pairs = list(zip(models, weights, strict=False))

  @tiny.quick_jit
  def of(shares):
    return [
      _loss(model, _reachable(shares), weight)
      if weight == own or model.network.parts == 2
      else _loss(model, shares, weight)
      for model, weight in pairs
    ]

  @quick
  @hypothesis.given(TIMES)
  def holds(shares):
    for model, numbers in zip(models, of(jnp.asarray(shares)), strict=True):
      for x in numbers:
        assert np.isfinite(x).all(), model

  holds()


@pytest.mark.parametrize(
  'name',
  [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
    for name in ACCEPTED
    if name not in ALIKE
  ],
)
def test_loss_and_gradient_are_finite_at_every_mixture_of_times(name, unheard):
  """In float32 and bfloat16, and with both views, by turns."""
  views, dtypes = [['plain'], ['residual']], ['float32', 'bfloat16']
  if name.startswith('bridge'):
    views, dtypes = views[::-1], dtypes[::-1]
  models = list(_models(ACCEPTED[name], dtypes, itertools.cycle(views)))
  assert len(models) >= 6
  _all_finite(models)


@pytest.mark.slow
@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize('name', ACCEPTED)
def test_they_are_finite_for_all_together(name, dtype, unheard):
  both = itertools.repeat(['plain', 'residual'])
  models = list(_models(ACCEPTED[name], [dtype], both))
  assert len(models) >= 10
  _all_finite(models)


def test_the_noise_of_a_frame_that_is_not_held_is_heard(unheard):
  """So the NaN is there to be hidden."""
  network = Mixing(dtype=jnp.dtype('float32'))
  model = toys.make_denoiser(network, ACCEPTED['bridge-vp'])
  heard, unheard = (
    tiny.quick_jit(functools.partial(_loss, model, hold_given=held))
    for held in (False, True)
  )
  shares = jnp.full((B, F), 0.5)
  assert np.isnan(heard(shares)[0])
  value, grad = unheard(shares)
  assert value > 0
  assert np.abs(grad).max() > 0


def test_all_predictions_are_among_these():
  assert set(predictions.PREDICTIONS) == {
    'x0',
    'psi',
    'eps',
    'v',
    'flow',
    'edm',
  }
  assert predictions.PREDICTIONS['psi'] is predictions.PREDICTIONS['eps']
