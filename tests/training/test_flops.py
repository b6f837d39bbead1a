"""Operations counted from a program equal those counted by hand."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from benchmarks import latte_job
from framebridge_jax.models import attention, latte
from framebridge_jax.training import flops


def _shapes(*shapes):
  return [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]


def test_a_dense_layer_is_two_operations_a_weight_and_row():
  layer = nn.Dense(7)
  (x,) = _shapes((2, 3, 5))
  params = jax.eval_shape(layer.init, jax.random.key(0), x)
  assert flops.count(layer.apply, params, x) == 2 * (2 * 3) * 5 * 7


def test_batched_products_count_their_batch_once():
  def product(x, y):
    return jnp.einsum('b m k, b k n -> b m n', x, y)

  assert flops.count(product, *_shapes((11, 2, 3), (11, 3, 5))) == (
    11 * 2 * (2 * 3 * 5)
  )


@pytest.mark.parametrize('kernel', ['default', 'xla', 'heads_first'])
def test_attention_is_scores_and_values(kernel):
  """4 n t s d a head, whatever the layout."""
  n, t, s, heads, d = 2, 6, 10, 3, 8
  shapes = _shapes((n, t, heads, d), (n, s, heads, d), (n, s, heads, d))
  got = flops.count(attention.ATTENTIONS[kernel], *shapes)
  assert got == 4 * n * t * s * heads * d


@pytest.mark.parametrize(
  ('options', 'outputs', 'each'),
  [
    ({}, 8 * 8, 3 * 3 * 4),
    ({'strides': 2}, 4 * 4, 3 * 3 * 4),
    ({'feature_group_count': 2}, 8 * 8, 3 * 3 * 2),
    ({'kernel_dilation': 2}, 8 * 8, 3 * 3 * 4),
  ],
  ids=['plain', 'strides', 'groups', 'dilated'],
)
def test_a_convolution_is_its_kernel_at_every_place(options, outputs, each):
  layer = nn.Conv(6, (3, 3), **options)
  (x,) = _shapes((5, 8, 8, 4))
  params = jax.eval_shape(layer.init, jax.random.key(0), x)
  assert flops.count(layer.apply, params, x) == 2 * 5 * outputs * 6 * each


def test_a_transposed_convolution_spreads_every_input_once():
  layer = nn.ConvTranspose(6, (2, 2), strides=(2, 2), padding='VALID')
  (x,) = _shapes((5, 8, 8, 4))
  params = jax.eval_shape(layer.init, jax.random.key(0), x)
  got = flops.count(layer.apply, params, x)
  assert got == 2 * (5 * 8 * 8 * 4) * (2 * 2 * 6)


def test_loss_and_gradient_of_two_layers_are_five_products():
  """Each has one for its weights; only the second has one for its input."""

  def loss(weights, x):
    return jnp.sum((x @ weights[0]) @ weights[1])

  weights, (x,) = _shapes((4, 5), (5, 6)), _shapes((3, 4))
  first, second = 2 * 3 * 4 * 5, 2 * 3 * 5 * 6
  assert flops.count(loss, weights, x) == first + second
  both = jax.value_and_grad(loss)
  assert flops.count(both, weights, x) == 2 * first + 3 * second


def test_nothing_but_products_counts():
  def other(x):
    return jnp.sort(jnp.cumsum(jnp.exp(x) / jnp.sum(x)))

  assert flops.count(other, *_shapes((1000,))) == 0


def _square(x):
  return x @ x


SQUARE = 2 * 4**3


def _linear():
  function = jax.custom_vjp(_square)
  function.defvjp(lambda x: (x @ x, x), lambda x, g: (g @ x,))
  return function


def _known_slope():
  function = jax.custom_jvp(_square)
  function.defjvps(lambda slope, answer, x: slope)
  return function


def _sharded():
  mesh = jax.make_mesh((2,), ('a',), devices=jax.devices()[:2])
  spec = jax.P()
  return jax.shard_map(_square, mesh=mesh, in_specs=spec, out_specs=spec)


CALLS = {
  'jit': (lambda: jax.jit(_square), 1),
  'remat': (lambda: jax.checkpoint(_square), 1),
  'custom_vjp': (_linear, 1),
  'custom_jvp': (_known_slope, 1),
  'vmap': (lambda: lambda x: jax.vmap(_square)(jnp.stack([x] * 3)), 3),
  'scan': (
    lambda: lambda x: jax.lax.scan(lambda c, _: (c @ c, c @ c), x, length=5),
    10,
  ),
  'scan in scan': (
    lambda: (
      lambda x: jax.lax.fori_loop(
        0, 5, lambda _, x: jax.lax.fori_loop(0, 3, lambda _, x: x @ x, x), x
      )
    ),
    15,
  ),
  'map': (lambda: lambda x: jax.lax.map(_square, jnp.stack([x] * 3)), 3),
  'cond': (
    lambda: (
      lambda x: jax.lax.cond(x[0, 0] > 0, _square, lambda x: x @ x @ x, x)
    ),
    2,
  ),
  'shard_map, the whole on each of two': (_sharded, 2),
}


@pytest.mark.parametrize('name', CALLS)
def test_what_is_called_counts_as_often_as_it_runs(name):
  make, times = CALLS[name]
  assert flops.count(make(), *_shapes((4, 4))) == times * SQUARE


def test_a_sharded_batch_counts_as_the_whole_one():
  auto = (jax.sharding.AxisType.Auto,) * 2
  mesh = jax.make_mesh((2, 2), ('a', 'b'), axis_types=auto)
  split = jax.shard_map(
    jnp.matmul, mesh=mesh, in_specs=(jax.P('a'), jax.P()), out_specs=jax.P('a')
  )
  shapes = _shapes((8, 3), (3, 5))
  # Along b the same is done twice.
  assert flops.count(split, *shapes) == 2 * flops.count(jnp.matmul, *shapes)


def test_a_loop_of_unknown_length_is_refused_if_it_multiplies():
  def until(body):
    return lambda x: jax.lax.while_loop(lambda x: x[0, 0] < 9, body, x)

  assert flops.count(until(lambda x: x + 1), *_shapes((4, 4))) == 0
  with pytest.raises(ValueError, match='while loop of unknown length'):
    flops.count(until(_square), *_shapes((4, 4)))


def test_a_kernel_that_hides_its_products_is_refused():
  call = jax.ffi.ffi_call('multiply', jax.ShapeDtypeStruct((4, 4), 'float32'))
  with pytest.raises(ValueError, match='inside ffi_call cannot be counted'):
    flops.count(call, *_shapes((4, 4)))


@pytest.mark.parametrize('remat', latte.REMATS)
@pytest.mark.parametrize('scan', [False, True])
def test_a_latte_counts_as_the_benchmark_counts_it_by_hand(scan, remat):
  """The benchmark modulates once a clip, and leaves the embedded time out.

  The library's modulations are of each frame, as its times are, and its time
  goes through 256 waves and two layers.
  """
  settings = latte_job.Settings(
    model='tiny',
    patch=2,
    batch=3,
    frames=4,
    size=8,
    device='cpu',
    dtype='float32',
    steps=1,
    options={},
  )
  network = latte.Latte(
    **settings.numbers,
    classes=latte_job.CLASSES,
    learned_variance=True,
    scan=scan,
    remat=remat,
  )
  inputs = latte_job.inputs(settings)
  z, label = jnp.asarray(inputs['z']), jnp.asarray(inputs['label'])
  t = jnp.zeros(z.shape[:2])
  variables = jax.eval_shape(
    network.init, jax.random.key(0), z, t, latte.Cond(label=label)
  )

  def forward(variables):
    return network.apply(variables, z, t, latte.Cond(label=label))

  width, depth = settings.numbers['width'], settings.numbers['depth']
  frames = settings.batch * settings.frames
  more = (6 * depth + 2) * 2 * width**2 * (frames - settings.batch)
  time = frames * 2 * (256 * width + width**2)
  want = latte_job.flops(settings, 'forward') + more + time
  assert flops.count(forward, variables) == want
  assert latte_job.flops(settings, 'train') == (
    flops.TRAINING * latte_job.flops(settings, 'forward')
  )


def test_a_scanned_latte_counts_as_the_unrolled_one_where_xla_does_not():
  """Beside it the reason for a counter: the compiler takes one body."""

  def deep(length):
    def run(x, weights):
      return jax.lax.scan(lambda x, w: (x @ w, None), x, weights)[0]

    return run, _shapes((32, 32), (length, 32, 32))

  run, shapes = deep(8)
  assert flops.count(run, *shapes) == 8 * 2 * 32**3
  analysis = jax.jit(run).lower(*shapes).compile().cost_analysis()
  assert analysis['flops'] < 2 * 2 * 32**3


@pytest.mark.parametrize(
  ('kind', 'tera'),
  [
    # SXM and PCIe of one name differ by a quarter.
    ('NVIDIA H100 80GB HBM3', 989.5),
    ('NVIDIA H100 PCIe', 756.5),
    ('NVIDIA H200', 989.5),
    ('NVIDIA A100-SXM4-80GB', 312),
    ('NVIDIA L4', 121),
    ('Tesla T4', 65),
    ('TPU v4', 275),
    ('TPU v5 lite', 197),
    ('TPU v5', 459),
    ('TPU v6 lite', 918),
  ],
)
def test_peaks_are_the_makers_for_dense_products(kind, tera):
  assert flops.peak(kind) == tera * 1e12


@pytest.mark.parametrize(
  'kind', ['cpu', 'NVIDIA H100 80GB HBM3 MIG 1g.10gb', 'NVIDIA GeForce', '']
)
def test_a_device_that_is_not_known_has_no_peak(kind):
  assert flops.peak(kind) is None
