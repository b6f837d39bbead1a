"""Networks small enough for tests, and attention written once more in numpy."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from framebridge_jax import denoiser
from framebridge_jax.models import latte
from framebridge_jax.processes import bridge, predictions, schedules, views

# Half the time to compile; the numbers stay float32's.
quick_jit = functools.partial(
  jax.jit,
  compiler_options={
    'xla_backend_optimization_level': 0,
    'xla_llvm_disable_expensive_passes': True,
  },
)

FRAMES, SIZE, CHANNELS, CLASSES, TEXT = 4, 8, 3, 5, 7


def make_latte(**changes) -> latte.Latte:
  """A Latte of 2 blocks over 2 x 2 patches, with a prior on channels."""
  numbers = {'patch': 4, 'width': 16, 'depth': 2, 'heads': 2, 'prior': True}
  return latte.Latte(**{**numbers, 'classes': CLASSES, **changes})


def make_denoiser(network: nn.Module) -> denoiser.Denoiser:
  """What the quickstart trains: x0 of the residual view."""
  return denoiser.Denoiser(
    network=network,
    process=bridge.Bridge(schedule=schedules.BridgeGmax(b0=0.01, b1=8.0)),
    prediction=predictions.PREDICTIONS['x0'],
    view=views.residual,
  )


def make_inputs(batch: int = 2, seed: int = 0):
  """Random z [b, f, h, w, c], network times [b, f] and a condition."""
  rng = np.random.default_rng(seed)
  shape = (batch, FRAMES, SIZE, SIZE, CHANNELS)
  z, prior = (jnp.asarray(rng.normal(size=shape), jnp.float32) for _ in 'zp')
  t = jnp.asarray(rng.uniform(0, 1000, shape[:2]), jnp.float32)
  cond = latte.Cond(
    label=jnp.asarray(rng.integers(0, CLASSES, batch), jnp.int32),
    prior=prior,
    anchor=jnp.zeros(shape[:2], jnp.int32),
    image=prior[:, :1],
    text=jnp.asarray(rng.normal(size=(batch, TEXT)), jnp.float32),
    stride=jnp.asarray(rng.integers(1, 7, batch), jnp.float32),
  )
  return z, t, cond


def init(network: nn.Module, seed: int = 0) -> Any:
  """Parameters as they are at the start of training, not boxed."""
  z, t, cond = make_inputs()
  make = quick_jit(lambda key: nn.unbox(network.init(key, z, t, cond)))
  return make(jax.random.key(seed))


def shaken(params: Any, *, std: float = 0.2, seed: int = 0) -> Any:
  """Adds Gaussian noise to all parameters: no gate is shut any more."""
  rng = np.random.default_rng(seed)
  return jax.tree.map(
    lambda x: x + jnp.asarray(std * rng.normal(size=x.shape), x.dtype), params
  )


def affine(params: Any, x: np.ndarray) -> np.ndarray:
  """A dense layer in float64."""
  kernel, bias = (np.asarray(params[n], np.float64) for n in ('kernel', 'bias'))
  return x @ kernel + bias


def attend(
  params: Any, x: np.ndarray, *, heads: int, context: np.ndarray | None = None
) -> np.ndarray:
  """Softmax attention (Vaswani et al. 2017, Eq. 1), token by token.

  Columns of the fused qkv are laid out as timm's: q, k, v, each head by head.

  Args:
    params: dense layers `qkv` and `out`.
    x: tokens [t, d] that ask.
    heads: number of heads.
    context: tokens [s, d] that answer; x itself by default.
  """
  width = x.shape[-1]
  each = width // heads
  context = x if context is None else context
  q = affine(params['qkv'], x)[:, :width]
  k = affine(params['qkv'], context)[:, width : 2 * width]
  v = affine(params['qkv'], context)[:, 2 * width :]
  out = np.zeros_like(x, dtype=np.float64)
  for head in range(heads):
    columns = slice(head * each, (head + 1) * each)
    for token in range(len(x)):
      scores = k[:, columns] @ q[token, columns] / np.sqrt(each)
      share = np.exp(scores - scores.max())
      out[token, columns] = (share / share.sum()) @ v[:, columns]
  return affine(params['out'], out)
