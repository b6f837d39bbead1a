"""Samples small clips with networks that tell what they see."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import tiny

import toys
from framebridge_jax import arrays, denoiser
from framebridge_jax.processes import diffusion, schedules
from framebridge_jax.samplers import ancestral, grids
from framebridge_jax.tasks import generate, plans

NULL = tiny.CLASSES
DIFFUSION = diffusion.Diffusion(schedule=schedules.VP())
BRIDGE = tiny.make_denoiser(tiny.make_latte()).process
ONE_STEP = plans.image_to_video(1, 4)  # into s = 0: the result is the answer
TRACES = []


def _up(x):
  return x[:, :, None, None, None]


class Toy(nn.Module):
  """Hears all that a network hears; counts how often it is traced."""

  @nn.compact
  def __call__(self, z, t, cond):
    TRACES.append(z.shape)
    weight = self.param('weight', nn.initializers.ones_init(), (1,) * z.ndim)
    label = cond.label.astype(z.dtype)[:, None, None, None, None]
    heard = _up(1e-3 * t) + 0.1 * label + cond.prior
    return jnp.tanh(weight * z + heard + 0.1 * jnp.mean(z, 1, keepdims=True))


TOY = {'params': {'weight': jnp.full((1,) * 5, 0.5)}}


class Says(nn.Module):
  """Answers with one of the things that it sees, in every pixel."""

  what: str

  @nn.compact
  def __call__(self, z, t, cond):
    return {
      'mean': jnp.broadcast_to(
        jnp.mean(z, (1, 2, 3, 4), keepdims=True), z.shape
      ),
      'z': z,
      'prior': cond.prior,
      'image': cond.image
      if cond.image is None
      else jnp.broadcast_to(cond.image, z.shape),
      'time': jnp.broadcast_to(
        jnp.mean(_up(t), 1, keepdims=True) / 1000, z.shape
      ),
      'anchor': jnp.broadcast_to(_up(cond.anchor.astype(z.dtype)), z.shape),
      'label': (1 + cond.label.astype(z.dtype)[:, None, None, None, None])
      * jnp.linspace(0, 1, z.shape[2])[None, None, :, None, None],
    }[self.what]


def make(process=DIFFUSION, network=None, prediction='x0', **more):
  """A denoiser of a diffusion, by default of `Toy`."""
  return toys.make_denoiser(network or Toy(), process, prediction, **more)


def keys(ids, seed: int = 0) -> arrays.SampleKeys:
  """One a sample."""
  return arrays.sample_keys(jax.random.key(seed), jnp.asarray(ids, jnp.int32))


def pixels(batch=2, seed=0, shape=(2, 2, 1)):
  """Clips of four frames."""
  values = np.random.default_rng(seed).uniform(-1, 1, (batch, 4, *shape))
  return jnp.asarray(values, jnp.float32)


def draw(
  model: denoiser.Denoiser,
  plan: plans.Plan,
  variables=TOY,
  *,
  sampler=ancestral.Ancestral(),  # noqa: B008
  **changes,
):
  """Samples two small clips of four frames."""
  source = changes.pop('source', pixels())
  task = generate.Task(
    plan=plan,
    grid=changes.pop('grid', grids.uniform(model.process, len(plan) - 1)),
    conditioning=changes.pop('conditioning', toys.conditioning()),
    given=changes.pop('given', None),
    pad_to=changes.pop('pad_to', 8),
    motion=generate.Motion(**changes.pop('motion', {})),
  )
  given = {
    'source': source,
    'label': jnp.arange(len(source), dtype=jnp.int32),
    'keys': keys(range(len(source))),
    'guide': generate.Guidance(),
    'null_label': NULL,
  }
  return generate.generate(model, sampler, variables, task, **(given | changes))
