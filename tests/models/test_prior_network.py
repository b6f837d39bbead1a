"""The neural prior: a Latte without time, whose optimum is a mean."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny
from flax import traverse_util

from framebridge_jax import arrays
from framebridge_jax.models import latte, prior_network
from framebridge_jax.training import losses

F = tiny.make_latte(timed=False, prior=False)


@functools.partial(tiny.quick_jit, static_argnums=0)
def _predict(network, variables, image, label):
  return prior_network.predict(network, variables, image, label)


@pytest.fixture(scope='module')
def variables():
  return tiny.shaken(tiny.init(F))


def test_the_network_has_no_parameter_of_time_and_is_latte_otherwise(variables):
  names = traverse_util.flatten_dict(variables, sep='/').keys()
  timed = tiny.init(tiny.make_latte(prior=False))
  more = traverse_util.flatten_dict(timed, sep='/').keys() - names
  assert more == {
    f'params/time_{side}/{leaf}'
    for side in ('in', 'out')
    for leaf in ('kernel', 'bias')
  }
  assert not any('time_' in name for name in names)


def test_it_is_told_a_time_of_zero_and_the_class(variables):
  """A network that hears time hears 0, so that it is a function of its own."""
  z, _, cond = tiny.make_inputs()
  timed = tiny.make_latte(prior=False)
  mine = tiny.shaken(tiny.init(timed))
  want = tiny.quick_jit(timed.apply)(
    mine, z, jnp.zeros(z.shape[:2]), latte.Cond(label=cond.label)
  )
  got = _predict(timed, mine, z, cond.label)
  np.testing.assert_array_equal(got, want)
  other = _predict(F, variables, z, cond.label.at[1].add(1))
  apart = np.abs(other - _predict(F, variables, z, cond.label))
  assert (apart[0] == 0).all()
  assert apart[1].max() > 1e-2


@pytest.mark.parametrize('frames', ['first', 'others'])
def test_the_loss_shows_the_first_frame_repeated_and_wants_the_clip(
  variables, frames
):
  """Mean square in numpy of F(image) - clip; later frames are not shown."""
  z, _, cond = tiny.make_inputs()
  if frames == 'others':
    z = z.at[:, 1:].multiply(-3.0)
  loss = losses.PriorLoss(
    network=F,
    encode=lambda video: 2 * video,
    label_dropout=0.0,
    null_label=tiny.CLASSES,
  )
  keys = arrays.sample_keys(jax.random.key(0), jnp.arange(2))
  batch = {'video': z, 'label': cond.label}
  value, _ = tiny.quick_jit(loss)(variables, batch, keys)
  clips = 2 * np.asarray(z, np.float64)
  image = jnp.asarray(np.repeat(clips[:, :1], tiny.FRAMES, axis=1), z.dtype)
  error = np.asarray(_predict(F, variables, image, cond.label)) - clips
  assert value == pytest.approx(np.mean(error**2), rel=1e-5)


@pytest.mark.parametrize('rate', [0.0, 1.0])
def test_labels_are_dropped_for_guidance(variables, rate):
  z, _, cond = tiny.make_inputs()
  keys = arrays.sample_keys(jax.random.key(0), jnp.arange(2))
  values = [
    tiny.quick_jit(
      losses.PriorLoss(
        network=F,
        encode=lambda video: video,
        label_dropout=share,
        null_label=tiny.CLASSES,
      )
    )(variables, {'video': z, 'label': label}, keys)[0]
    for share, label in (
      (rate, cond.label),
      (0.0, jnp.full_like(cond.label, tiny.CLASSES)),
    )
  ]
  assert (values[0] == values[1]) == bool(rate)


# Videos of a pixel and two channels, jointly Gaussian given their class.
ROUNDS, BATCH = 250, 256
MEANS = np.array([[0.4, -0.4], [-0.6, 0.3], [0.0, 0.9]])  # a class each
TURN = np.array(  # of the first frame, for each frame
  [
    [[1.0, 0.0], [0.0, 1.0]],
    [[0.8, 0.3], [-0.3, 0.8]],
    [[0.3, 0.6], [-0.6, 0.3]],
    [[-0.2, 0.5], [-0.5, -0.2]],
  ]
)
STD = np.array([0.0, 0.5, 0.7, 0.9])


def _videos(rng, label):
  first = MEANS[label] + rng.normal(size=(len(label), 2))
  noise = STD[:, None] * rng.normal(size=(len(label), 4, 2))
  drift = 0.5 * np.arange(4)[:, None] * MEANS[label][:, None]
  video = np.einsum('fcd,bd->bfc', TURN, first) + drift + noise
  mean = video - noise
  lay_out = (len(label), 4, 1, 1, 2)
  return video.reshape(lay_out), mean.reshape(lay_out)


@pytest.mark.slow
def test_the_optimum_of_a_gaussian_is_the_conditional_mean():
  """FrameBridge Proposition 3: far nearer to it than the image itself is.

  And the loss ends at what the image does not say: the conditional variance.
  """
  network = latte.Latte(
    patch=1, width=32, depth=2, heads=2, classes=3, timed=False
  )
  loss = losses.PriorLoss(
    network=network,
    encode=lambda video: video,
    label_dropout=0.0,
    null_label=3,
  )
  optimizer = optax.adam(optax.cosine_decay_schedule(5e-3, ROUNDS))
  keys = arrays.sample_keys(jax.random.key(0), jnp.arange(BATCH))

  @tiny.quick_jit
  def step(params, state, video, label):
    batch = {'video': video, 'label': label}
    (value, _), grads = jax.value_and_grad(loss, has_aux=True)(
      params, batch, keys
    )
    with jax.numpy_dtype_promotion('standard'):
      updates, state = optimizer.update(grads, state, params)
    return optax.apply_updates(params, updates), state, value

  rng = np.random.default_rng(0)
  labels = np.arange(BATCH) % 3
  params = jax.tree.map(
    jnp.asarray,
    latte.nn.unbox(
      network.init(
        jax.random.key(1),
        jnp.zeros((1, 4, 1, 1, 2)),
        jnp.zeros((1, 4)),
        latte.Cond(label=jnp.zeros(1, jnp.int32)),
      )
    ),
  )
  state, values = optimizer.init(params), []
  label = jnp.asarray(labels, jnp.int32)
  for _ in range(ROUNDS):
    video, _ = _videos(rng, labels)
    video = jnp.asarray(video, jnp.float32)
    params, state, value = step(params, state, video, label)
    values.append(float(value))

  video, mean = _videos(rng, labels)
  image = np.repeat(video[:, :1], 4, axis=1)
  got = _predict(network, params, jnp.asarray(image, jnp.float32), label)

  def away(x):
    """Root mean square distance from the conditional mean, frame by frame."""
    return np.sqrt(np.mean((np.asarray(x) - mean) ** 2, axis=(0, 2, 3, 4)))

  assert (away(image)[1:] > 0.4).all()
  assert (away(got) < 0.1).all()
  assert np.mean(values[-50:]) == pytest.approx(np.mean(STD**2), rel=0.05)
