"""Guidance of samples: each kind against what it should answer."""

import jax
import numpy as np
import pytest

import samples
from framebridge_jax.processes import diffusion, fading
from framebridge_jax.tasks import generate, plans


@pytest.mark.parametrize(
  ('what', 'strong', 'weak'),
  [
    ('time', 0.75, 1.0),  # three of four frames at T; all of them
    ('prior', None, 0.0),  # the known frame, everywhere; nothing
  ],
)
@pytest.mark.parametrize('scale', [0.0, 2.5])
def test_history_guidance_goes_away_from_the_answer_without_known_frames(
  what, strong, weak, scale
):
  """weak + scale (strong - weak), where weak sees noise at T for them."""
  source = samples.pixels()
  got = samples.draw(
    samples.make(network=samples.Says(what)),
    samples.ONE_STEP,
    {},
    source=source,
    guide=generate.Guidance(history=scale),
  )
  strong = source[:, :1] if strong is None else strong
  want = np.broadcast_to(weak + scale * (strong - weak), source.shape)
  np.testing.assert_allclose(got[:, 1:], want[:, 1:], rtol=1e-5, atol=1e-6)
  np.testing.assert_array_equal(got[:, 0], source[:, 0])


def test_the_weak_branch_of_history_guidance_holds_nothing_of_known_frames():
  """At scale 0 it is all there is: other known frames change nothing."""
  # Of flow matching, whose start holds nothing of the prior either.
  model = samples.make(
    diffusion.Diffusion(schedule=fading.Flow()), samples.Says('mean')
  )

  def sample(seed, history):
    return samples.draw(
      model,
      samples.ONE_STEP,
      {},
      source=samples.pixels(seed=seed),
      guide=generate.Guidance(history=history),
    )[:, 1:]

  one = sample(0, 0.0)
  np.testing.assert_array_equal(one, sample(1, 0.0))
  assert np.abs(sample(0, 0.5) - sample(1, 0.5)).min() > 1e-3
  # What it sees in their place is noise: its mean is that of 16 unit numbers.
  assert 0 < np.abs(one).max() < 5 / np.sqrt(16)


# What the network says of the two clips' labels; the null label's is one more.
LABEL, NULL = np.array([1.0, 2.0]), 1.0 + samples.NULL


def _check_labels(guide, level, plan=samples.ONE_STEP, **more):
  """The answers, of both clips, have these levels along each column."""
  got = samples.draw(
    samples.make(network=samples.Says('label')),
    plan,
    {},
    guide=guide,
    source=samples.pixels(shape=(3, 2, 1)),
    **more,
  )
  want = level[:, None] * np.linspace(0, 1, 3)
  np.testing.assert_allclose(got[:, 1, :, 0, 0], want, rtol=1e-5, atol=1e-6)


def test_label_and_history_guidance_add_up():
  """One after the other, each from the last one's answer."""
  guided = NULL + 3 * (LABEL - NULL)
  guided = LABEL + 2 * (guided - LABEL)
  _check_labels(generate.Guidance(scale=3.0, history=2.0), guided)


def test_the_network_is_called_once_a_step_for_all_questions():
  """Two clips and three questions: one batch of six."""
  calls = []

  class Counted(samples.Says):
    def __call__(self, z, t, cond):
      jax.debug.callback(lambda: calls.append(z.shape[0]))
      return super().__call__(z, t, cond)

  got = samples.draw(
    samples.make(network=Counted('label')),
    plans.image_to_video(3, 4),
    {},
    guide=generate.Guidance(scale=3.0, history=2.0, rescale=0.5),
  )
  jax.block_until_ready(got)
  jax.effects_barrier()
  assert calls == [6, 6, 6]


@pytest.mark.parametrize('share', [0.7, 1.0])
def test_rescaling_takes_a_share_of_the_answer_back_to_the_plain_contrast(
  share,
):
  """Lin et al. 2024, Eq. 15-16: std_plain / std_guided, mixed by share."""
  guided = NULL + 0.5 * (LABEL - NULL)
  want = share * LABEL + (1 - share) * guided
  _check_labels(generate.Guidance(scale=0.5, rescale=share), want)


@pytest.mark.parametrize(
  ('start', 'stop', 'guided'),
  [
    (0.0, 0.8, True),
    (0.0, 0.7, False),
    (0.7, 1.0, True),
    (0.8, 1.0, False),
  ],
)
def test_guidance_holds_within_its_share_of_the_way_alone(start, stop, guided):
  """The last of four steps begins at 3/4 of it, and its answer is kept."""
  guide = generate.Guidance(scale=2.0, start=start, stop=stop)
  want = NULL + 2 * (LABEL - NULL) if guided else LABEL
  _check_labels(guide, want, plans.image_to_video(4, 4))


def test_another_null_label_is_a_negative_condition():
  guide = generate.Guidance(scale=2.0)
  _check_labels(guide, 4 + 2 * (LABEL - 4), null_label=3)


@pytest.mark.parametrize(
  ('changes', 'kinds'),
  [
    ({}, ()),
    ({'rescale': 0.5, 'start': 0.2}, ()),
    ({'scale': 2.0}, ('label',)),
    ({'history': 2.0, 'stop': 0.5}, ('history', 'interval')),
    ({'scale': 0.0, 'rescale': 0.1}, ('label', 'rescale')),
  ],
  ids=str,
)
def test_only_the_guidance_that_changes_something_is_compiled(changes, kinds):
  assert generate.Guidance(**changes).kinds == kinds


def test_history_guidance_of_a_bridge_is_refused():
  with pytest.raises(ValueError, match='history guidance is 2 on a bridge'):
    samples.draw(
      samples.make(samples.BRIDGE),
      samples.ONE_STEP,
      guide=generate.Guidance(history=2.0),
    )
