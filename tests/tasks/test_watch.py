"""Looking on while clips are made: previews, cancelling, and no other bit."""

import jax
import numpy as np
import pytest

import samples
from framebridge_jax.samplers import table as samplers
from framebridge_jax.tasks import generate, plans, programs

PLAN = plans.image_to_video(7, 4)


class Seen(list):
  """Keeps what it is shown; stops after so many."""

  def __init__(self, stop_after=None):
    super().__init__()
    self.stop_after = stop_after

  def __call__(self, preview):
    self.append(preview)
    return len(self) != self.stop_after


def _draw(every=None, see=None, **changes):
  see = Seen() if see is None else see
  watch = every and generate.Watch(see, every)
  model = changes.pop('model', samples.make(samples.BRIDGE))
  return samples.draw(model, changes.pop('plan', PLAN), watch=watch, **changes)


@pytest.mark.parametrize('sampler', ['ancestral', 'dbim3', 'ddbm'])
def test_a_watched_loop_gives_the_same_bits_as_one_that_is_not(sampler):
  """State is carried from part to part: past answers too."""
  how = {
    'sampler': samplers.SAMPLERS[sampler](),
    'guide': generate.Guidance(scale=3.0, rescale=0.5),
  }
  whole = np.asarray(_draw(**how))
  for every in (1, 3, 100):
    np.testing.assert_array_equal(_draw(every, **how), whole)


def test_parts_of_any_length_share_one_program():
  _draw()
  before = programs.advance._cache_size()
  for every in (1, 2, 5):
    _draw(every)
  _draw(2, plan=plans.interpolate(5, 4))
  assert programs.advance._cache_size() == before


def test_previews_come_between_the_parts_and_say_where_they_are():
  see = Seen()
  _draw(3, see)
  assert [(x.step, x.num_steps) for x in see] == [(3, 7), (6, 7)]


def test_a_preview_is_the_answer_that_the_next_step_is_made_of():
  """The last step ends in its answer, which is the clip."""
  see = Seen()
  got = np.asarray(_draw(1, see))
  np.testing.assert_allclose(see[-1].x0, got, rtol=0, atol=1e-6)
  assert np.abs(np.asarray(see[0].x0) - got)[:, 1:].max() > 1e-3


def test_known_frames_of_a_preview_are_the_given_ones():
  see, source = Seen(), samples.pixels()
  _draw(2, see, source=source, guide=generate.Guidance(scale=4.0))
  for preview in see:
    np.testing.assert_array_equal(preview.x0[:, 0], source[:, 0])


def test_false_ends_the_sampling_and_the_last_preview_is_at_hand():
  see = Seen(stop_after=2)
  with pytest.raises(generate.CancelledError, match='after step 4') as ended:
    _draw(2, see)
  assert len(see) == 2
  assert ended.value.preview is see[-1]


def test_watching_costs_one_call_of_the_network_a_preview():
  calls = []

  class Counted(samples.Toy):
    def __call__(self, z, t, cond):
      jax.debug.callback(lambda: calls.append(1))
      return super().__call__(z, t, cond)

  for every, want in ((None, 7), (3, 9)):
    calls.clear()
    jax.block_until_ready(_draw(every, model=samples.make(network=Counted())))
    jax.effects_barrier()
    assert len(calls) == want
