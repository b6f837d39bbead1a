"""Plans: who is known, who moves, and what padding adds."""

import numpy as np
import pytest

from framebridge_jax.samplers import grids
from framebridge_jax.tasks import plans

STEPS, FRAMES = 8, 5
# task -> the frames that it knows (FVDM 2.4).
KNOWN = {'image_to_video': [0], 'interpolate': [0, FRAMES - 1]}
every = pytest.mark.parametrize('name', plans.TASKS)
UNIFORM = grids.uniform(1.0)


def test_every_task_of_the_table_has_its_known_frames_here():
  assert set(KNOWN) == set(plans.TASKS)


@every
def test_known_frames_stand_at_one_and_the_others_travel_in_equal_steps(name):
  u = plans.TASKS[name](STEPS, FRAMES)
  assert u.shape == (STEPS + 1, FRAMES)
  for frame in range(FRAMES):
    if frame in KNOWN[name]:
      np.testing.assert_array_equal(u[:, frame], np.ones(STEPS + 1))
    else:
      assert u[0, frame] == 0
      assert u[-1, frame] == 1
      np.testing.assert_allclose(np.diff(u[:, frame]), 1 / STEPS, rtol=1e-12)


def test_progress_without_known_frames_moves_all():
  u = plans.progress(4, 2)
  np.testing.assert_allclose(u, np.arange(5)[:, None] / 4 * np.ones(2))


@every
@pytest.mark.parametrize('grid', grids.GRIDS)
def test_times_go_from_T_to_zero_and_known_frames_stand_at_zero(name, grid):
  T = 3.0
  u = plans.TASKS[name](STEPS, FRAMES)
  t = plans.time_plan(u, grids.GRIDS[grid](T), batch=2, pad_to=STEPS)
  assert t.shape == (STEPS + 1, 2, FRAMES)
  assert t.dtype == np.float32
  unknown = [i for i in range(FRAMES) if i not in KNOWN[name]]
  np.testing.assert_array_equal(t[:, :, KNOWN[name]], 0)
  np.testing.assert_array_equal(t[0][:, unknown], T)
  np.testing.assert_array_equal(t[-1], 0)
  assert (np.diff(t[:, :, unknown], axis=0) < 0).all()


def test_padding_repeats_the_last_row_for_every_sample():
  u = plans.progress(3, 2, known=(1,))
  t = plans.time_plan(u, UNIFORM, batch=2, pad_to=5)
  want = np.array([1, 2 / 3, 1 / 3, 0, 0, 0], np.float32)
  for sample in range(2):
    np.testing.assert_allclose(t[:, sample, 0], want, atol=1e-7)
    np.testing.assert_array_equal(t[:, sample, 1], np.zeros(6))


def test_padding_of_a_plan_that_stops_early_stays_where_it_stopped():
  u = plans.progress(4, 2)[:3]
  t = plans.time_plan(u, UNIFORM, batch=1, pad_to=4)
  np.testing.assert_array_equal(t[2:, 0], np.full((3, 2), 0.5))


def test_a_plan_longer_than_the_loop_names_both_numbers():
  u = plans.progress(12, 2)
  with pytest.raises(ValueError, match=r'12 steps.*loop 8;.*num_steps'):
    plans.time_plan(u, UNIFORM, batch=1, pad_to=8)
  assert len(plans.time_plan(u, UNIFORM, batch=1, pad_to=12)) == 13
