"""Floating-point operations of matrix products, and what devices can do.

A program's jaxpr is walked, because the compiler's own count takes a loop's
body once, however often it runs.  Only matrix products and convolutions count,
a multiplication and an addition as two.  By the convention of model FLOPs
utilisation (MFU; Chowdhery et al. 2022, "PaLM", appendix B) a training step is
TRAINING times the forward loss: backward is two products for each one forward,
and what remat computes anew does not count.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
from jax.extend import core

TRAINING = 3


def count(fn: Callable[..., Any], *args: Any) -> float:
  """Operations of the matrix products in `fn(*args)`, on all devices.

  Arguments may be shapes (`jax.ShapeDtypeStruct`); nothing is computed.  A
  scan counts its body as often as it runs, a condition its dearest branch, a
  `shard_map` its body on every device.  Positions that a convolution pads
  count as if they were real.

  Raises:
    ValueError: products stand in a `while` loop of unknown length, or a
      kernel is called whose inside cannot be seen.
  """
  return float(_count(jax.make_jaxpr(fn)(*args).jaxpr))


def peak(device_kind: str) -> float | None:
  """Most bfloat16 operations a second of one device, None if not known."""
  return _PEAKS.get(device_kind)


def _count(jaxpr):
  return sum(_RULES.get(eqn.primitive.name, _inside)(eqn) for eqn in jaxpr.eqns)


def _inside(eqn):
  """A call (jit, remat, custom_jvp, ...) counts what it calls."""
  return sum(map(_count, core.jaxprs_in_params(eqn.params)))


def _dot(eqn):
  (contracted, _), _ = eqn.params['dimension_numbers']
  shape = eqn.invars[0].aval.shape
  depth = math.prod(shape[axis] for axis in contracted)
  return 2.0 * eqn.outvars[0].aval.size * depth


def _convolution(eqn):
  kernel = eqn.invars[1].aval
  features = kernel.shape[eqn.params['dimension_numbers'].rhs_spec[0]]
  # What dilates the input is zeros, and they are no work.
  zeros = math.prod(eqn.params['lhs_dilation'])
  return 2.0 * eqn.outvars[0].aval.size * kernel.size / features / zeros


def _scan(eqn):
  return eqn.params['length'] * _inside(eqn)


def _cond(eqn):
  return max(_count(branch.jaxpr) for branch in eqn.params['branches'])


def _shard_map(eqn):
  sizes = eqn.params['mesh'].shape
  axes = eqn.params['newly_manual_axes']
  return math.prod(sizes[axis] for axis in axes) * _inside(eqn)


def _while(eqn):
  if _inside(eqn):
    raise ValueError(
      'a while loop of unknown length has matrix products inside, which '
      'cannot be counted; give fori_loop fixed ends, or use scan'
    )
  return 0.0


def _opaque(eqn):
  raise ValueError(
    f'the matrix products inside {eqn.primitive.name} cannot be counted; '
    f'count the same network with a plain kernel, such as attention xla'
  )


_RULES = {
  'dot_general': _dot,
  'conv_general_dilated': _convolution,
  'scan': _scan,
  'cond': _cond,
  'while': _while,
  'shard_map': _shard_map,
  'dot_product_attention_fwd_wrapper': _opaque,
  'dot_product_attention_bwd_wrapper': _opaque,
  'ffi_call': _opaque,
  'pallas_call': _opaque,
  'ragged_dot_general': _opaque,
}

# By `jax.Device.device_kind`, spelled out: a slice of a GPU (MIG) has a longer
# name and another peak.  Dense products; NVIDIA's datasheets print those of
# the newer cards "with sparsity", which is twice as much.
_PEAKS = {
  # nvidia.com/en-us/data-center/h100: 1,979 (SXM), 1,513 (PCIe) and 1,671 (NVL)
  # TFLOPS with sparsity.
  'NVIDIA H100 80GB HBM3': 989.5e12,
  'NVIDIA H100 PCIe': 756.5e12,
  'NVIDIA H100 NVL': 835.5e12,
  # nvidia.com/en-us/data-center/h200: 1,979 (SXM), 1,671 (NVL) with sparsity.
  'NVIDIA H200': 989.5e12,
  'NVIDIA H200 NVL': 835.5e12,
  # nvidia.com/en-us/data-center/a100: 312 without sparsity, all forms.
  'NVIDIA A100-SXM4-40GB': 312e12,
  'NVIDIA A100-SXM4-80GB': 312e12,
  'NVIDIA A100-PCIE-40GB': 312e12,
  'NVIDIA A100 80GB PCIe': 312e12,
  # nvidia.com/en-us/data-center/l4: 242 with sparsity.
  'NVIDIA L4': 121e12,
  # nvidia.com/en-us/data-center/tesla-t4: 65, of float16; it has no bfloat16.
  'Tesla T4': 65e12,
  # docs.cloud.google.com/tpu/docs/v4, v5e, v5p, v6e: of a chip, which is one
  # device.  JAX knows two names of the newer ones.
  'TPU v4': 275e12,
  'TPU v5 lite': 197e12,
  'TPU v5e': 197e12,
  'TPU v5': 459e12,
  'TPU v5p': 459e12,
  'TPU v6 lite': 918e12,
  'TPU v6e': 918e12,
}
