"""Our samplers against trajectories recorded from other people's code.

Every state on the way is compared, through the denoiser and the loop that
users run.  The recordings are float32; errors are shares of the largest entry.
"""

import pathlib

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

from framebridge_jax import denoiser
from framebridge_jax.processes import (
  bridge,
  clocks,
  diffusion,
  discrete,
  predictions,
  saf,
  schedules,
)
from framebridge_jax.samplers import ancestral, implicit, loop, multistep

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden'
COGVIDEOX = discrete.Discrete(
  table='scaled_linear', snr_shift=3.0, zero_terminal=True
)


def _load(name):
  """Arrays by name; latents [b, f, c, h, w] as [b, f, h, w, c], float64."""
  with np.load(GOLDEN / f'{name}.npz') as file:
    arrays = dict(file)
  return {
    key: jnp.asarray(np.moveaxis(x, -3, -1), jnp.float64)
    if x.ndim >= 5
    else np.asarray(x)
    for key, x in arrays.items()
  }


def _states(sampler, model, times, zt, *, prior, cond=None, noise=None):
  """The latent after each step: walks of every length, in one batch."""
  steps = len(times) - 1
  walks = np.stack(
    [np.minimum(np.arange(steps + 1), n + 1) for n in range(steps)]
  )
  times = np.repeat(np.asarray(times, float)[walks.T], len(zt), axis=1)
  noise = jnp.zeros((steps, *zt.shape)) if noise is None else noise

  def of_all(x):
    return None if x is None else jnp.concatenate([x] * steps)

  out = loop.run(
    sampler,
    model.process,
    model.bind(
      {},
      denoiser.Given(of_all(prior), of_all(cond), of_all(jnp.zeros_like(zt))),
    ),
    of_all(zt),
    jnp.asarray(np.repeat(times[..., None], zt.shape[1], axis=2)),
    prior=of_all(prior),
    noise=lambda k: of_all(noise[k]),
  )
  return out.reshape(steps, *zt.shape)


def _assert_equal(states, recorded):
  assert len(states) == len(recorded)
  for step, (got, want) in enumerate(zip(states, recorded, strict=True)):
    error = np.abs(got - want).max() / np.abs(want).max()
    assert error < 1e-5, f'{error:.1e} in step {step}'


class Wave(nn.Module):
  """Latte's recordings: eps, and a variance in further channels."""

  @nn.compact
  def __call__(self, z, t, cond):
    t = t[..., None, None, None]
    eps = 0.6 * z + 0.3 * jnp.sin(3 * z) * t / 1000
    return jnp.concatenate([eps, 0.5 * jnp.cos(z)], axis=-1)


class Bent(nn.Module):
  """FrameBridge's recording: v, from the aligned latent, time and prior."""

  @nn.compact
  def __call__(self, z, t, cond):
    return 0.5 * jnp.tanh(z) + 0.1 * cond - 0.2 * t[..., None, None, None] / 1e3


class Growing(nn.Module):
  """CogVideoX's recording: the n-th question is answered with n v / 2."""

  @nn.compact
  def __call__(self, z, t, cond):
    return cond * (0.5 * ((999 - t) / 20 + 1))[..., None, None, None]


class Still(nn.Module):
  """Answers with the condition."""

  @nn.compact
  def __call__(self, z, t, cond):
    return cond


def _on_table(network, table, prediction):
  return denoiser.Denoiser(
    network=network,
    process=diffusion.Diffusion(schedule=table),
    prediction=predictions.PREDICTIONS[prediction],
    clock=clocks.Table(),
  )


@pytest.mark.parametrize(
  ('kind', 'sampler'),
  [
    ('ddim10_eta0', implicit.Implicit()),
    ('ddim10_eta05', implicit.Implicit(eta=0.5)),
    ('ddpm10', ancestral.Ancestral()),
  ],
)
def test_latte_trajectory_with_learned_variance(kind, sampler):
  """DDPM's widening by the variance channels included."""
  golden = _load('latte_diffusion')
  times = np.append((golden['timestep_map_10'][::-1] + 1) / 1000, 0.0)
  zt = golden['x_init']
  states = _states(
    sampler,
    _on_table(Wave(), discrete.Discrete(), 'eps'),
    times,
    zt,
    prior=jnp.zeros_like(zt),
    noise=golden.get(f'{kind}_noise'),
  )
  _assert_equal(states, golden[kind])


def test_framebridge_trajectory_through_an_aligned_teacher():
  """From the prior without noise at 1000/1001, on CogVideoX's v.

  The last question is asked at 1/1001 and its answer is the clip.
  """
  golden = _load('framebridge_schedule')
  teacher = _on_table(Bent(), COGVIDEOX, 'v')
  model = denoiser.align(
    teacher,
    bridge.Bridge(schedule=schedules.BridgeGmax()),
    saf.AmplitudeLinear(),
  )
  prior = golden['zT']
  states = _states(
    ancestral.Ancestral(),
    model,
    np.append((golden['traj_index'] + 1) / 1001, 0.0),
    prior,
    prior=prior,
    cond=prior,
    noise=jnp.concatenate([golden['traj_noise'], golden['traj_noise'][:1]]),
  )
  np.testing.assert_array_equal(golden['traj'][0], prior)
  _assert_equal(states, golden['traj'][1:])


@pytest.mark.parametrize('index', [999, 979, 499, 19])
def test_cogvideox_ddim_step_of_fifty(index):
  """From pure noise at 999, and into the clean end from 19."""
  golden = _load('cogvideox_ddim_steps')
  zt = golden['x']
  model = _on_table(Still(), COGVIDEOX, 'v')
  (state,) = _states(
    implicit.Implicit(),
    model,
    [(index + 1) / 1000, (index - 19) / 1000],
    zt,
    prior=jnp.zeros_like(zt),
    cond=golden['v'],
  )
  _assert_equal([state], [golden[f'prev_{index}']])
  given = denoiser.Given(jnp.zeros_like(zt), golden['v'], jnp.zeros_like(zt))
  t = jnp.full(zt.shape[:2], (index + 1) / 1000)
  _assert_equal([model({}, zt, t, given).x0], [golden[f'x0_{index}']])


def _second_draw(golden):
  """The noise of every step but the first, which was not recorded.

  The scheduler draws twice there, from the same seed in every step, and uses
  the second.  Step 1 gives it away: its past stands at log(a / c) = -inf, so
  it is a plain pinned step, from index 979 to 959 with n v / 2 for n = 2.
  """
  with np.load(GOLDEN / 'cogvideox_alphas.npz') as file:
    now, then = (file['cogvideox_2b'][n] for n in (979, 959))
  before, after = golden['dpm_seq'][:2]
  x0 = now**0.5 * before - (1 - now) ** 0.5 * golden['v']
  kept = now * (1 - then) / (then * (1 - now))
  point = (then / now) ** 0.5 * kept * before + then**0.5 * (1 - kept) * x0
  return (after - point) / ((1 - then) * (1 - kept)) ** 0.5


def test_cogvideox_dpm_trajectory_is_sde_dpm_solver_2m():
  """Under another name; it sets out from pure noise."""
  golden = _load('cogvideox_ddim_steps')
  zt = golden['x']
  states = _states(
    multistep.StochasticMultistep(),
    _on_table(Growing(), COGVIDEOX, 'v'),
    np.append(golden['dpm_timesteps'] + 1, 920) / 1000,
    zt,
    prior=jnp.zeros_like(zt),
    cond=golden['v'],
    noise=jnp.stack([golden['dpm_noise']] + [_second_draw(golden)] * 3),
  )
  _assert_equal(states, golden['dpm_seq'])


@pytest.mark.parametrize(
  ('name', 'table'),
  [
    ('uniform', discrete.Discrete(table='scaled_linear')),
    ('trailing', discrete.Discrete(table='scaled_linear', zero_terminal=True)),
  ],
)
def test_lvdm_ddim_with_eta_one_adds_the_recorded_noise(name, table):
  """Its own ends: the last step leads to the table's first entry, not to 0.

  The recorded alphas are float32, so near the clean end their differences
  hold four digits.
  """
  golden = _load('lvdm_ddim_params')
  index = golden[f'{name}_t']
  previous = np.append(0, index[:-1])
  t, s = (jnp.asarray([(n + 1) / 1000]) for n in (index, previous))
  process = diffusion.Diffusion(schedule=table)
  blank = jnp.zeros((*t.shape, 1, 1, 1))
  sampler = implicit.Implicit(eta=1.0)

  def step(noise):
    return sampler.step(
      process,
      lambda y, t: loop.Answer(jnp.zeros_like(y)),
      sampler.init(blank),
      s=s,
      t=t,
      noise=noise,
    ).y.ravel()

  spread = step(jnp.ones_like(blank)) - step(blank)
  np.testing.assert_allclose(spread, golden[f'{name}_sigmas'], rtol=1e-4)
