"""Plans: who is known, who moves, and what padding adds."""

import numpy as np
import pytest

from framebridge_jax.processes import bridge, schedules
from framebridge_jax.samplers import grids
from framebridge_jax.tasks import plans, windows

STEPS, FRAMES = 8, 5
# Tasks whose frames are known or travel in equal steps: task, options and the
# frames that it knows (FVDM 2.4).
KNOWN = [
  ('generate', {}, []),
  ('i2v', {}, [0]),
  ('interpolate', {}, [0, 4]),
  ('keyframes', {'known': '3'}, [3]),
  ('keyframes', {'known': '0 2 3'}, [0, 2, 3]),
  ('extend', {}, [0, 1, 2, 3]),
  ('extend', {'overlap': 2}, [0, 1]),
  ('transition', {}, [0, 1, 3, 4]),
  ('transition', {'overlap': 1}, [0, 4]),
  ('next_frame', {}, [0, 1, 2, 3]),
  ('loop', {}, [0, 4]),
  ('loop', {'overlap': 2}, [0, 1, 3, 4]),
  ('inpaint_time', {}, [0, 3, 4]),
  ('inpaint_time', {'count': 3}, [0, 4]),
  ('inpaint_time', {'missing': '0 2'}, [1, 3, 4]),
]
# Tasks in which every frame goes its own way.
OWN_WAY = {'progressive', 'staggered', 'rolling', 'edit'}
PROCESS = bridge.Bridge(schedule=schedules.BridgeGmax(T=3.0))
UNIFORM = grids.GRIDS['uniform'](PROCESS, STEPS)


def test_every_task_of_the_table_is_tested_here():
  assert {name for name, _, _ in KNOWN} | OWN_WAY == set(plans.TASKS)


@pytest.mark.parametrize(('name', 'options', 'known'), KNOWN, ids=str)
def test_known_frames_stand_at_one_and_the_others_travel_in_equal_steps(
  name, options, known
):
  u = plans.TASKS[name](STEPS, FRAMES, **options)
  assert u.shape == (STEPS + 1, FRAMES)
  for frame in range(FRAMES):
    if frame in known:
      np.testing.assert_array_equal(u[:, frame], np.ones(STEPS + 1))
    else:
      assert u[0, frame] == 0
      assert u[-1, frame] == 1
      np.testing.assert_allclose(np.diff(u[:, frame]), 1 / STEPS, rtol=1e-12)


def test_progressive_gives_frame_i_the_time_min_of_a_tenth_i_t_and_t():
  """FVDM 2.4, i = 1..N: none is known, and all end clean."""
  frames = 12
  t = 1 - plans.progressive(STEPS, frames)
  for k, clip_time in enumerate(np.linspace(1, 0, STEPS + 1)):
    want = [min(0.1 * i * clip_time, clip_time) for i in range(1, frames + 1)]
    np.testing.assert_allclose(t[k], want, atol=1e-12)
  assert t[0].min() > 0
  known = 1 - plans.progressive(STEPS, frames, first=0)
  np.testing.assert_array_equal(known[:, 0], np.zeros(STEPS + 1))
  np.testing.assert_allclose(known[:, 1:], t[:, :-1], atol=1e-12)
  steep = 1 - plans.progressive(STEPS, frames, slope=0.5)
  np.testing.assert_allclose(steep[0], [0.5] + [1] * 11)


def test_staggered_frames_set_out_one_after_another_at_one_pace():
  u = plans.staggered(8, 5)
  # Time 2 ways long, 5 frames a quarter of a way apart: 4 steps a way.
  for frame in range(5):
    want = np.clip((np.arange(9) - frame) / 4, 0, 1)
    np.testing.assert_allclose(u[:, frame], want, atol=1e-12)


def test_staggered_without_a_lag_is_plain_generation():
  np.testing.assert_array_equal(
    plans.staggered(STEPS, FRAMES, lag=0.0), plans.generate(STEPS, FRAMES)
  )
  assert plans.staggered(STEPS, 1).shape == (STEPS + 1, 1)


def test_rolling_hands_the_clip_over_without_a_jump():
  """Where a frame ends a tick, the place before it begins the next one."""
  u = plans.rolling(STEPS, FRAMES)
  np.testing.assert_allclose(u[0, :-1], u[-1, 1:], atol=1e-12)
  np.testing.assert_allclose(u[-1, 0], 1)
  np.testing.assert_allclose(u[0, -1], 0)
  np.testing.assert_allclose(u[0], [0.8, 0.6, 0.4, 0.2, 0.0])
  np.testing.assert_allclose(np.diff(u, axis=0), 1 / (STEPS * FRAMES))


def test_rolling_behind_known_frames_leaves_them_alone():
  u = plans.rolling(STEPS, FRAMES, overlap=2)
  np.testing.assert_array_equal(u[:, :2], np.ones((STEPS + 1, 2)))
  np.testing.assert_allclose(u[0, 2:], [2 / 3, 1 / 3, 0])
  np.testing.assert_allclose(u[-1, 2:], [1, 2 / 3, 1 / 3])


@pytest.mark.parametrize('overlap', [0, 2])
def test_a_stream_starts_where_its_first_tick_ends(overlap):
  """From nothing, each frame at the pace of the ticks that follow."""
  start = plans.rolling_start(STEPS, FRAMES, overlap=overlap)
  tick = plans.rolling(STEPS, FRAMES, overlap=overlap)
  np.testing.assert_array_equal(start[0, overlap:], np.zeros(FRAMES - overlap))
  np.testing.assert_allclose(start[-1], tick[-1], atol=1e-12)
  # The same frame, a tick later.
  np.testing.assert_allclose(tick[0, overlap:-1], start[-1, overlap + 1 :])
  assert np.diff(start, axis=0).min() >= 0
  assert np.diff(start, axis=0).max() <= 1 / STEPS + 1e-12


def test_edited_frames_set_out_from_their_strength():
  """SDEdit: time runs from `strength` T to 0."""
  t = 1 - plans.edit(4, 3, strength=0.6)
  want = np.array([0.6, 0.45, 0.3, 0.15, 0.0])
  np.testing.assert_allclose(t, want[:, None] * np.ones(3), atol=1e-12)
  np.testing.assert_array_equal(
    plans.edit(4, 3, strength=1.0), plans.generate(4, 3)
  )


def test_edits_have_a_strength_a_frame_and_frames_of_none_are_known():
  t = 1 - plans.edit_frames(2, np.array([0.0, 0.5, 1.0]))
  np.testing.assert_array_equal(t, [[0, 0.5, 1], [0, 0.25, 0.5], [0, 0, 0]])
  np.testing.assert_array_equal(1 - plans.edit(2, 3, strengths='0 0.5 1'), t)
  some = 1 - plans.edit(2, 3, strength=0.5, known='0 2')
  np.testing.assert_array_equal(some[0], [0, 0.5, 0])


@pytest.mark.parametrize('name', plans.TASKS)
def test_no_frame_of_a_task_ever_goes_back(name):
  u = plans.TASKS[name](STEPS, FRAMES)
  assert u.min() >= 0
  assert u.max() <= 1
  assert np.diff(u, axis=0).min() >= 0
  assert (np.diff(u, axis=0).max(axis=1) > 0).all()


REFUSED = [
  ('keyframes', {'known': '0 9'}, r'\[9\].*5 frames'),
  ('keyframes', {'known': '-1'}, r'\[-1\].*count from 0'),
  ('keyframes', {'known': 'first'}, r"'first'.*such as 0 7 15"),
  ('keyframes', {'known': '0 1 2 3 4'}, 'all 5 frames are known'),
  ('extend', {'overlap': 5}, 'all 5 frames are known'),
  ('extend', {'overlap': 7}, r'\[5, 6\].*5 frames'),
  ('transition', {'overlap': 3}, 'all 5 frames are known'),
  ('inpaint_time', {'missing': '5'}, r'missing frames \[5\].*5 frames'),
  ('edit', {'strengths': '0.5 1'}, 'want 5 numbers from 0 to 1'),
  ('edit', {'strengths': '0 0 0 0 few'}, 'want 5 numbers from 0 to 1'),
  ('edit', {'known': '7'}, r'known frames \[7\].*5 frames'),
  ('edit', {'strength': 0.0}, 'all 5 frames are to stay as they are'),
  ('rolling', {'overlap': 5}, 'overlap is 5, want 0 to 4 of 5 frames'),
]


@pytest.mark.parametrize(('name', 'options', 'message'), REFUSED, ids=str)
def test_known_frames_that_make_no_sense_are_refused(name, options, message):
  with pytest.raises(ValueError, match=message):
    plans.TASKS[name](STEPS, FRAMES, **options)


def test_progress_without_known_frames_moves_all():
  u = plans.progress(4, 2)
  np.testing.assert_allclose(u, np.arange(5)[:, None] / 4 * np.ones(2))


# A causal codec: the first latent holds one frame, each other one two.
CAUSAL = [0, 1, 1, 2, 2]


def test_a_latent_is_known_where_all_of_its_frames_are():
  u = plans.keyframes(STEPS, FRAMES, known='0 3 4')
  latents = windows.of_latents(u, CAUSAL)
  assert latents.shape == (STEPS + 1, 3)
  assert plans.known_frames(latents) == (0, 2)
  np.testing.assert_allclose(latents[:, 1], np.linspace(0, 1, STEPS + 1))
  np.testing.assert_array_equal(windows.of_latents(u, range(FRAMES)), u)


def test_a_latent_of_edited_frames_goes_the_way_of_the_strongest():
  u = plans.edit(4, FRAMES, strengths='0 0.2 0.6 1 0.1')
  np.testing.assert_allclose(1 - windows.of_latents(u, CAUSAL)[0], [0, 0.6, 1])


@pytest.mark.parametrize(
  ('known', 'torn'), [('0 4', '3-4'), ('0 1', '1-2'), ('2 3 4', '1-2')]
)
def test_known_frames_that_tear_a_latent_are_told_the_legal_ones(known, torn):
  u = plans.keyframes(STEPS, FRAMES, known=known)
  with pytest.raises(ValueError, match='do not cover whole') as error:
    windows.of_latents(u, CAUSAL)
  assert f'frames {torn} share one' in str(error.value)
  assert str(error.value).endswith('together: 0, 1-2, 3-4')


@pytest.mark.parametrize('name', ['generate', 'interpolate'])
@pytest.mark.parametrize('grid', ['uniform', 'quadratic', 'karras', 'log_snr'])
def test_times_go_from_T_to_zero_and_known_frames_stand_at_zero(name, grid):
  known = {'generate': [], 'interpolate': [0, 4]}[name]
  u = plans.TASKS[name](STEPS, FRAMES)
  made = grids.GRIDS[grid](PROCESS, STEPS)
  t = plans.time_plan(u, made, batch=2, pad_to=STEPS)
  assert t.shape == (STEPS + 1, 2, FRAMES)
  assert t.dtype == np.float32
  unknown = [i for i in range(FRAMES) if i not in known]
  np.testing.assert_array_equal(t[:, :, known], 0)
  np.testing.assert_array_equal(t[0][:, unknown], 3.0)
  np.testing.assert_array_equal(t[-1], 0)
  assert (np.diff(t[:, :, unknown], axis=0) < 0).all()


def test_padding_repeats_the_last_row_for_every_sample():
  u = plans.progress(3, 2, known=(1,))
  t = plans.time_plan(u, UNIFORM, batch=2, pad_to=5)
  want = np.array([3, 2, 1, 0, 0, 0], np.float32)
  for sample in range(2):
    np.testing.assert_allclose(t[:, sample, 0], want, atol=1e-6)
    np.testing.assert_array_equal(t[:, sample, 1], np.zeros(6))


def test_padding_of_a_plan_that_stops_early_stays_where_it_stopped():
  u = plans.progress(4, 2)[:3]
  t = plans.time_plan(u, UNIFORM, batch=1, pad_to=4)
  np.testing.assert_array_equal(t[2:, 0], np.full((3, 2), 1.5))


def test_a_plan_longer_than_the_loop_names_both_numbers():
  u = plans.progress(12, 2)
  with pytest.raises(ValueError, match=r'12 steps.*loop 8;.*num_steps'):
    plans.time_plan(u, UNIFORM, batch=1, pad_to=8)
  assert len(plans.time_plan(u, UNIFORM, batch=1, pad_to=12)) == 13


@pytest.mark.parametrize('name', plans.TASKS)
def test_no_time_is_a_residue_of_rounding(name):
  """Beside an end it would be a step of its own, and a huge one."""
  for steps in range(1, 40):
    for frames in (6, 16, 24):
      options = {'known': '1'} if name == 'keyframes' else {}
      u = plans.TASKS[name](steps, frames, **options)
      t = plans.time_plan(u, lambda u: 1 - u, batch=1, pad_to=steps)
      inside = t[(t != 0) & (t != 1)]
      assert ((inside > 1e-6) & (inside < 1 - 1e-6)).all()


@pytest.mark.parametrize(
  ('plan', 'complaint'),
  [
    (plans.edit(4, 3, strength=2.0), 'from -1 to 1; progress stays'),
    (plans.progressive(4, 3, slope=-1.0), 'progress stays in'),
    (plans.progress(4, 3)[::-1], 'progress only grows'),
  ],
)
def test_a_plan_out_of_its_range_is_refused(plan, complaint):
  with pytest.raises(ValueError, match=complaint):
    plans.time_plan(plan, lambda u: 1 - u, batch=1, pad_to=4)
