"""Tasks on pixels: what is given comes back, and what else does not matter."""

import dataclasses

import jax
import jax.numpy as jnp
import makers
import numpy as np
import odd_codecs
import pytest

import samples
import toys
from framebridge_jax.processes import priors
from framebridge_jax.tasks import generate, long_video, plans, windows
from framebridge_jax.training import sharding

clip, request, run = makers.clip, makers.request, makers.run
# Task -> lengths of what it is given, and which frames of the result are what.
GIVEN = {
  'i2v': ([1], {0: (0, 0)}),
  'interpolate': ([1, 1], {0: (0, 0), 3: (1, 0)}),
  'keyframes:known=1 2': ([1, 1], {1: (0, 0), 2: (1, 0)}),
  'extend:overlap=2': ([3], {0: (0, 0), 1: (0, 1), 2: (0, 2)}),
  'transition:overlap=1': ([2, 1], {0: (0, 0), 1: (0, 1), 4: (1, 0)}),
  'loop': ([2], {0: (0, 0), 1: (0, 1)}),
  'next_frame': ([3], {0: (0, 0), 1: (0, 1), 2: (0, 2)}),
  'inpaint_time:missing=2': ([4], {0: (0, 0), 1: (0, 1), 3: (0, 3)}),
  'edit:strengths=0 0.5 0.9 0': ([4], {0: (0, 0), 3: (0, 3)}),
  'progressive:first=0,slope=0.4': ([1], {0: (0, 0)}),
}
LENGTHS = {
  'extend:overlap=2': 5,
  'transition:overlap=1': 5,
  'loop': 4,
}


@pytest.fixture(scope='module')
def maker():
  return makers.make()


@pytest.mark.parametrize('task', GIVEN)
def test_given_frames_stand_in_the_result_to_the_byte(maker, task):
  lengths, places = GIVEN[task]
  given = [clip(length, seed=i) for i, length in enumerate(lengths)]
  (made,) = run(maker, task, request(*given))
  assert len(made.frames) == LENGTHS.get(task, 4)
  for i, (which, frame) in places.items():
    np.testing.assert_array_equal(made.frames[i], given[which].frames[frame])
  # Latents are handed on with the pixels, one a frame.
  again = maker.codec.decode(made.latents[None])[0]
  np.testing.assert_array_equal(again, made.frames)


def test_requests_of_a_batch_do_not_know_of_each_other(maker):
  """Another batch, other clips beside it: noise and pixels are the same."""
  wanted = [
    request(clip(seed=i), label=i, sample_id=i, seed=7 * (i % 2))
    for i in range(4)
  ]
  together = run(maker, 'i2v', *wanted)
  for i in (0, 3):
    (alone,) = run(maker, 'i2v', wanted[i])
    np.testing.assert_allclose(alone.latents, together[i].latents, rtol=1e-5)
  assert (together[0].frames[1:] != together[2].frames[1:]).any()


def test_devices_share_a_batch_that_they_do_not_divide(maker):
  """Guided: the questions of a sample stand on one device."""
  mesh = sharding.make_mesh({'data': 4, 'fsdp': 1, 'tensor': 1, 'frames': 1})
  whole = jax.sharding.NamedSharding(mesh, jax.P())
  split = dataclasses.replace(
    maker,
    variables=jax.device_put(maker.variables, whole),
    place=lambda x: jax.device_put(x, sharding.batch_sharding(mesh)),
    share=4,
  )
  wanted = [request(clip(seed=i), sample_id=i) for i in range(3)]
  guide = generate.Guidance(scale=3.0)
  ours, theirs = (run(x, 'i2v', *wanted, guide=guide) for x in (split, maker))
  assert len(ours) == 3
  for one, other in zip(ours, theirs, strict=True):
    np.testing.assert_allclose(one.latents, other.latents, rtol=1e-5, atol=1e-6)


def test_latents_at_hand_are_taken_as_they_are_and_nothing_is_encoded():
  """What a codec loses it loses once."""
  codec = odd_codecs.Counting()
  maker = makers.make(codec=codec)
  latents = jax.random.normal(jax.random.key(0), (3, 2, 2, 3))
  given = windows.Clip(clip(3).frames, latents)
  (made,) = run(maker, 'extend:overlap=2', request(given))
  assert codec.encoded == []
  np.testing.assert_array_equal(made.latents[:3], given.latents)


def test_only_frames_that_are_read_are_encoded():
  codec = odd_codecs.Counting()
  run(makers.make(codec=codec), 'i2v', request(clip()))
  assert codec.encoded == [(1, 1, 2, 2, 3)]


def test_a_model_with_one_time_for_all_generates_the_given_frame_too():
  """FrameBridge's own: the image is a condition, not a frame that is kept."""
  maker = makers.make(hold_given=False)
  given = clip()
  (made,) = run(maker, 'i2v', request(given))
  assert (made.frames[0] != given.frames[0]).any()
  other = run(maker, 'i2v', request(clip(seed=1)))[0]
  assert (made.frames[1:] != other.frames[1:]).any()


@pytest.mark.parametrize(
  'task', ['interpolate', 'keyframes:known=0 2', 'extend:overlap=1']
)
def test_it_takes_every_task_whose_frames_set_out_together(task):
  maker = makers.make(hold_given=False)
  count = 2 if 'overlap' not in task else 1
  given = [clip(seed=i) for i in range(count)]
  (made,) = run(maker, task, request(*given))
  assert np.isfinite(made.latents).all()


@pytest.mark.parametrize(
  'task', ['edit:known=0', 'progressive:first=0', 'edit:strengths=0 1 1 0.5']
)
def test_it_refuses_tasks_with_times_of_their_own(task, compilations):
  maker = makers.make(hold_given=False)
  given = clip(1 if 'progressive' in task else 4)
  with pytest.raises(ValueError, match='one time for all frames'):
    run(maker, task, request(given))
  assert not compilations


def _causal(**changes):
  """Five frames in three latents of six channels."""
  network = samples.Toy()
  return makers.make(
    samples.make(samples.BRIDGE, network),
    codec=odd_codecs.Causal(),
    frames=5,
    **changes,
  )


@pytest.mark.parametrize(
  ('task', 'known'),
  [
    ('i2v', {0: (0, 0)}),
    ('keyframes:known=0 3 4', {0: (0, 0), 3: (1, 0), 4: (2, 0)}),
    ('extend:overlap=3', {0: (0, 0), 1: (0, 1), 2: (0, 2)}),
  ],
)
def test_frames_that_cover_whole_latents_are_known(task, known):
  count = {'i2v': [1], 'extend:overlap=3': [3]}.get(task, [1, 1, 1])
  given = [clip(n, seed=i) for i, n in enumerate(count)]
  (made,) = run(_causal(), task, request(*given))
  assert len(made.frames) == 5
  for i, (which, frame) in known.items():
    np.testing.assert_array_equal(made.frames[i], given[which].frames[frame])


def test_frames_that_do_not_are_refused_with_those_that_would(compilations):
  with pytest.raises(ValueError, match='together: 0, 1-2, 3-4'):
    run(_causal(), 'interpolate', request(clip(), clip(seed=1)))
  assert not compilations


def test_latents_of_several_frames_are_not_handed_over():
  maker = _causal()
  with pytest.raises(ValueError, match='holds several frames'):
    next(
      maker.stream(
        [request(clip(3))], makers.style(maker), long_video.Handover(overlap=3)
      )
    )


def test_a_stream_hands_latents_over_and_never_encodes_again():
  codec = odd_codecs.Counting()
  maker = makers.make(codec=codec)
  pieces = maker.stream(
    [request(clip(5))], makers.style(maker), long_video.Handover(overlap=2)
  )
  made = [next(pieces)[0] for _ in range(4)]
  # The first frame, which an anchor would need, and the last two.
  assert codec.encoded == [(1, 1, 2, 2, 3), (1, 2, 2, 2, 3)]
  assert [len(piece.frames) for piece in made] == [2, 2, 2, 2]
  frames = np.concatenate([piece.frames for piece in made])
  assert len(np.unique(frames.reshape(8, -1), axis=0)) == 8


def test_the_prior_of_a_task_can_be_another_than_training_s():
  """The network, which says what it is shown of the prior, is shown it."""
  model = samples.make(network=samples.Says('prior'))
  maker = makers.make(model, variables={})
  given = request(clip(seed=0), clip(seed=1))
  plain = run(maker, 'interpolate', given)[0]
  held = run(
    maker,
    'interpolate',
    given,
    prior=toys.conditioning(priors.hold_last).prior,
  )[0]
  np.testing.assert_array_equal(held.frames[2], held.frames[0])
  assert (plain.frames[2] != plain.frames[0]).any()


def test_a_window_s_number_makes_its_noise_another(maker):
  plan = plans.extend(3, 4, overlap=2)
  style = makers.style(maker)
  source = jnp.zeros((1, 4, 2, 2, 3))
  made = [
    maker._run(
      maker.task(plan, style), source, [request(clip())], style, window=number
    ).latents
    for number in (None, 0, 1)
  ]
  for i in range(3):
    assert np.abs(made[i] - made[i - 1])[:, 2:].min() > 1e-4


def test_previews_of_a_batch_are_shown(maker):
  seen = []
  run(maker, 'i2v', request(clip()), watch=generate.Watch(seen.append, 2))
  assert [x.step for x in seen] == [2]
