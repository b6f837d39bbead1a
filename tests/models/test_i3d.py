"""I3D against recorded logits of its public form, and its convolution alone."""

import i3d_kits
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax import traverse_util

import pages
from framebridge_jax.models import i3d

GOLDEN = pages.ROOT / 'tests' / 'golden' / 'i3d_small.npz'
apply = tiny.quick_jit(i3d_kits.SMALL.apply)


def _variables():
  flat = i3d_kits.parameters(i3d_kits.SMALL)
  return {'params': traverse_util.unflatten_dict(flat, sep='/')}


def test_logits_are_those_of_the_public_network():
  want = np.load(GOLDEN)['logits']
  got = apply(_variables(), i3d_kits.clips(2, frames=11))
  # Clips differ by 0.07, and so would a wrong epsilon or padding.
  np.testing.assert_allclose(got, want, atol=2e-5)


@pytest.mark.parametrize('side', [1, 3, 7])
@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('frames', [5, 6])
def test_the_convolution_is_one_over_time_and_space(side, stride, frames):
  """Padded as SAME: XLA's own convolution of three dimensions."""
  rng = np.random.default_rng(0)
  x = jnp.asarray(rng.normal(size=(2, frames, 9, 8, 3)), jnp.float32)
  kernel = jnp.asarray(rng.normal(size=(side,) * 3 + (3, 4)), jnp.float32)
  want = jax.lax.conv_general_dilated(
    x,
    kernel,
    (stride,) * 3,
    'SAME',
    dimension_numbers=('NDHWC', 'DHWIO', 'NDHWC'),
  )
  got = i3d.convolve(x, kernel, stride)
  np.testing.assert_allclose(got, want, atol=1e-4)


@pytest.mark.parametrize('shape', [(1, 9, 224, 224, 3), (1, 16, 112, 224, 3)])
def test_other_clips_are_refused(shape):
  with pytest.raises(ValueError, match='I3D reads 10 frames or more of 224'):
    jax.eval_shape(apply, _variables(), jnp.zeros(shape))


def test_the_published_network_has_12_7_million_parameters():
  """230 arrays; mean and variance of norms among them."""
  clip = jnp.zeros((1, 10, 224, 224, 3))
  tree = jax.eval_shape(i3d.I3D().init, jax.random.key(0), clip)
  leaves = jax.tree.leaves(tree)
  assert (len(leaves), sum(x.size for x in leaves)) == (230, 12_704_544)
