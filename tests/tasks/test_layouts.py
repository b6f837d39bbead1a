"""Where given frames go, and how the result is put together."""

import numpy as np
import pytest

from framebridge_jax import arguments
from framebridge_jax.tasks import layouts, plans

FRAMES = 6
# Task, its options, lengths of what is given -> the window's frames before it
# is made, and the result.  'a3' is frame 3 of the first clip, 'm' is made.
CASES = [
  ('generate', {}, [], '......', 'm0 m1 m2 m3 m4 m5'),
  ('staggered', {}, [], '......', 'm0 m1 m2 m3 m4 m5'),
  ('i2v', {}, [1], 'a0.....', 'm0 m1 m2 m3 m4 m5'),
  ('interpolate', {}, [1, 1], 'a0....b0', 'm0 m1 m2 m3 m4 m5'),
  ('keyframes', {'known': '1 4'}, [1, 1], '.a0..b0.', 'm0 m1 m2 m3 m4 m5'),
  ('extend', {'overlap': 2}, [3], 'a1a2....', 'a0 a1 a2 m2 m3 m4 m5'),
  ('transition', {}, [3, 2], 'a1a2..b0b1', 'a0 a1 a2 m2 m3 b0 b1'),
  ('loop', {}, [1], 'a0....a0', 'a0 m1 m2 m3 m4'),
  ('loop', {'overlap': 2}, [3], 'a1a2..a0a1', 'a0 a1 a2 m2 m3'),
  (
    'next_frame',
    {},
    [7],
    'a2a3a4a5a6.',
    'a0 a1 a2 a3 a4 a5 a6 m5',
  ),
  ('inpaint_time', {}, [8], 'a0a1a2a3a4a5', 'm0 m1 m2 m3 m4 m5'),
  ('edit', {}, [6], 'a0a1a2a3a4a5', 'm0 m1 m2 m3 m4 m5'),
  ('progressive', {}, [1], 'a0a0a0a0a0a0', 'm0 m1 m2 m3 m4 m5'),
  ('rolling', {}, [], '......', 'm0 m1 m2 m3 m4 m5'),
  ('rolling', {'overlap': 2}, [4], 'a2a3....', 'a0 a1 a2 a3'),
]


@pytest.mark.parametrize(
  ('task', 'options', 'lengths', 'window', 'result'), CASES, ids=str
)
def test_given_frames_stand_where_they_belong(
  task, options, lengths, window, result
):
  layout = layouts.LAYOUTS[task](FRAMES, lengths, **options)
  seen = [layout.places.get(i) for i in range(FRAMES)]
  names = ['.' if x is None else f'{"ab"[x.clip]}{x.frame}' for x in seen]
  assert ''.join(names) == window
  frames = [
    f'{"ab"[piece.clip] if piece.clip >= 0 else "m"}{i}'
    for piece in layout.pieces
    for i in range(piece.start, piece.stop)
  ]
  assert ' '.join(frames) == result


def test_every_task_has_a_layout_with_options_of_its_plan():
  assert set(layouts.LAYOUTS) == set(plans.TASKS) == {case[0] for case in CASES}
  for name, row in layouts.LAYOUTS.items():
    mine, theirs = map(arguments.options_of, (row, plans.TASKS[name]))
    assert mine.items() <= theirs.items()


@pytest.mark.parametrize(
  ('task', 'options', 'lengths'), [case[:3] for case in CASES], ids=str
)
def test_known_frames_are_given_ones_and_given_ones_are_read(
  task, options, lengths
):
  """A frame that is neither known nor sets out on its way has no place."""
  layout = layouts.LAYOUTS[task](FRAMES, lengths, **options)
  plan = plans.TASKS[task](5, FRAMES, **options)
  assert set(plans.known_frames(plan)) <= layout.places.keys()
  if task in ('staggered', 'inpaint_time', 'edit', 'progressive', 'rolling'):
    return
  assert set(np.flatnonzero(plan[0] > 0)) == layout.places.keys()


@pytest.mark.parametrize(
  ('task', 'options', 'lengths', 'message'),
  [
    ('i2v', {}, [], 'i2v takes one picture, 0 are given'),
    ('i2v', {}, [5], 'i2v takes one picture; number 1 has 5 frames'),
    ('interpolate', {}, [1], 'takes 2 pictures, 1 are given'),
    ('keyframes', {'known': '0 3'}, [1] * 3, '0 3 takes 2 pictures, 3 are'),
    ('extend', {}, [1], 'one clip of at least 4 frames; number 1 has 1 frame'),
    ('transition', {}, [2, 1], '2 clips of at least 2 frames; number 2 has 1'),
    ('edit', {}, [4], 'one clip of at least 6 frames; number 1 has 4 frames'),
    ('generate', {}, [1], 'generate takes no picture, 1 are given'),
  ],
)
def test_what_a_task_cannot_read_is_refused(task, options, lengths, message):
  with pytest.raises(ValueError, match=message):
    layouts.LAYOUTS[task](FRAMES, lengths, **options)
