"""The JAX arms of `latte.py`, which starts this file."""

import functools
import time

import flax.linen as nn
import jax
import jax.numpy as jnp
import latte_job
import numpy as np
import optax
from flax import traverse_util

from framebridge_jax import denoiser
from framebridge_jax.models import attention, latte
from framebridge_jax.porting import latte as porting
from framebridge_jax.porting import rules, surgery
from framebridge_jax.processes import clocks, diffusion, discrete, predictions
from framebridge_jax.samplers import grids, implicit, loop


def make(settings: latte_job.Settings, job: str) -> latte_job.Case:
  """Compiles a job ahead of its first run."""
  if '/' in job:
    return _part(settings, *job.split('/'))
  return {'forward': _forward, 'train': _train, 'sample': _sample}[job](
    settings
  )


def _forward(settings):
  network, inputs = _network(settings), _inputs(settings)

  def forward(variables, z, t, cond):
    return network.apply(variables, z, t, cond)

  arguments = (_variables(settings), inputs['z'], inputs['t'], inputs['cond'])
  compiled, facts = _compile(jax.jit(forward), *arguments)
  return latte_job.Case(
    run=lambda: jax.block_until_ready(compiled(*arguments)),
    answer=np.asarray,
    facts=facts,
  )


def _train(settings):
  network, inputs = _network(settings), _inputs(settings)
  optimizer = optax.adamw(1e-4, weight_decay=0.0)

  def loss(variables, z, t, cond, noise):
    out = network.apply(variables, z, t, cond)
    return jnp.mean((out[..., : latte_job.CHANNELS] - noise) ** 2)

  def step(state, *batch):
    variables, memory = state
    value, gradient = jax.value_and_grad(loss)(variables, *batch)
    updates, memory = optimizer.update(gradient, memory, variables)
    return (optax.apply_updates(variables, updates), memory), value

  batch = tuple(inputs[name] for name in ('z', 't', 'cond', 'noise'))
  variables = _variables(settings)
  state = variables, jax.jit(optimizer.init)(variables)
  compiled, facts = _compile(jax.jit(step, donate_argnums=0), state, *batch)

  def run():
    nonlocal state
    state, value = compiled(state, *batch)
    return jax.block_until_ready((state, value))[1]

  # The second loss tells of the first one's gradient.
  return latte_job.Case(
    run=run, answer=lambda x: np.asarray([x, run()]), facts=facts
  )


def _sample(settings):
  inputs = _inputs(settings)
  x = inputs['z']
  process = diffusion.Diffusion(schedule=discrete.Discrete(table='linear'))
  model = denoiser.Denoiser(
    network=_network(settings),
    process=process,
    prediction=predictions.PREDICTIONS['eps'],
    clock=clocks.Table(),
  )
  steps = settings.steps
  grid = grids.spaced(process, steps, spacing='strided')
  times = np.asarray(grid(np.linspace(0, 1, steps + 1)), np.float32)
  times = np.broadcast_to(times[:, None, None], (steps + 1, *x.shape[:2]))

  def sample(variables, x, cond):
    still = jnp.zeros_like(x)
    given = denoiser.Given(prior=still, cond=cond, noise=still)
    return loop.run(
      implicit.Implicit(),
      process,
      model.bind(variables, given),
      x,
      jnp.asarray(times),
      prior=still,
      noise=lambda k: still,
    )

  arguments = (_variables(settings), x, inputs['cond'])
  compiled, facts = _compile(jax.jit(sample), *arguments)
  return latte_job.Case(
    run=lambda: jax.block_until_ready(compiled(*arguments)),
    answer=np.asarray,
    facts=facts,
  )


def _part(settings, part, way):
  function = _functions(settings)[part]
  arguments = [
    jnp.asarray(x, settings.dtype)
    for x in latte_job.part_arguments(settings, part)
  ]

  def both(*arguments):
    out, back = jax.vjp(function, *arguments)
    return back(jnp.ones_like(out)), out

  run = {'forward': function, 'backward': both}[way]
  compiled, facts = _compile(jax.jit(run), *arguments)
  return latte_job.Case(
    run=lambda: jax.block_until_ready(compiled(*arguments)),
    answer=lambda x: np.asarray(jax.tree.leaves(x)[0], np.float32),
    facts=facts,
  )


def _functions(settings):
  """The parts of a block, as the network computes them."""
  heads = settings.numbers['heads']
  kernel = attention.ATTENTIONS[settings.options['attention']]

  def attend(qkv):
    b, m, t, _ = qkv.shape
    q, k, v = jnp.moveaxis(qkv.reshape(b * m, t, 3, heads, -1), 2, 0)
    return kernel(q, k, v).reshape(b, m, t, -1)

  def linear(x, kernel, bias):
    return x @ kernel + bias

  def mlp(x, *weights):
    hidden = nn.gelu(linear(x, *weights[:2]), approximate=True)
    return linear(hidden, *weights[2:])

  def norm_gate(x, y, shift, scale, gate):
    x = x + gate * y
    norm = nn.LayerNorm(epsilon=1e-6, use_bias=False, use_scale=False)
    y = norm.apply({}, x.astype(jnp.float32)).astype(x.dtype)
    return y * (1 + scale) + shift

  return {
    'qkv': linear,
    'attention_space': attend,
    'attention_time': attend,
    'out': linear,
    'mlp': mlp,
    'norm_gate': norm_gate,
    'modulation': linear,
  }


def _network(settings):
  options = settings.options
  return latte.Latte(
    **settings.numbers,
    classes=latte_job.CLASSES,
    learned_variance=True,
    scan=options['scan'],
    remat=options['remat'],
    attention=options['attention'],
    dtype=jnp.dtype(settings.dtype),
  )


def _inputs(settings):
  arrays = {k: jnp.asarray(x) for k, x in latte_job.inputs(settings).items()}
  t = jnp.broadcast_to(arrays['t'][:, None], arrays['z'].shape[:2])
  return arrays | {'t': t, 'cond': latte.Cond(label=arrays['label'])}


def _variables(settings):
  """Parameters of the same values as any other arm's."""
  network = _network(settings).clone(scan=False)
  inputs = _inputs(settings)
  shapes = jax.eval_shape(
    network.init,
    jax.random.key(0),
    *(inputs[name] for name in ('z', 't', 'cond')),
  )
  shapes = traverse_util.flatten_dict(nn.meta.unbox(shapes)['params'], sep='/')
  table = porting.rows(
    network,
    frames=settings.frames,
    grid=settings.size // settings.patch,
    layout='latte',
  )
  flat = {}
  for rule in table:
    if isinstance(rule, rules.Rule):
      blank = np.empty(shapes[rule.target].shape, np.float32)
      drawn = latte_job.draw(rule.source, rule.transform.back(blank).shape)
      flat[f'params/{rule.target}'] = rule.transform.forward(drawn)
  if settings.options['scan']:
    flat = surgery.stack_pairs(flat)
  flat = {name: jnp.asarray(x) for name, x in flat.items()}
  return traverse_util.unflatten_dict(flat, sep='/')


def _compile(function, *arguments):
  """The compiled function, and what the compiler says of it."""
  start = time.perf_counter()
  lowered = function.lower(*arguments)
  traced = time.perf_counter()
  compiled = lowered.compile()
  stop = time.perf_counter()
  facts = {'trace_s': traced - start, 'compile_s': stop - start}
  memory = compiled.memory_analysis()
  if memory is not None:
    facts['temporary_bytes'] = memory.temp_size_in_bytes
    facts['argument_bytes'] = memory.argument_size_in_bytes
  cost = compiled.cost_analysis()
  if cost:
    facts['counted_flops'] = cost.get('flops')
  return compiled, facts


@functools.cache
def _device():
  return jax.devices()[0]


def _memory():
  return (_device().memory_stats() or {}).get('peak_bytes_in_use')


def _make(settings, job):
  case = make(settings, job)
  case.facts['device'] = _device().device_kind
  case.facts['software'] = f'jax {jax.__version__}'
  return case


if __name__ == '__main__':
  latte_job.serve(_make, _memory)
