"""A window's trace holds its steps, and no others."""

import jax
import jax.numpy as jnp
import pytest

from framebridge_jax.training import profiling


@pytest.fixture
def traced(monkeypatch):
  """The profiler's calls, in order, instead of the profiler."""
  calls = []
  monkeypatch.setattr(
    jax.profiler, 'start_trace', lambda folder: calls.append(str(folder))
  )
  monkeypatch.setattr(jax.profiler, 'stop_trace', lambda: calls.append('stop'))
  return calls


def _run(window, steps, calls):
  for step in steps:
    window.before(step)
    calls.append(step)
    window.after(step)


def test_a_trace_goes_round_the_steps_of_the_window(tmp_path, traced):
  window = profiling.parse('3:5', tmp_path)
  _run(window, range(1, 8), traced)
  window.close()
  start = str(tmp_path / 'profile')
  assert traced == [1, 2, start, 3, 4, 'stop', 5, 6, 7]


def test_a_run_that_resumes_inside_begins_there(tmp_path, traced):
  window = profiling.parse('3:6', tmp_path)
  _run(window, range(5, 8), traced)
  assert traced == [str(tmp_path / 'profile'), 5, 'stop', 6, 7]


def test_a_run_that_resumes_behind_has_no_trace(tmp_path, traced):
  window = profiling.parse('3:6', tmp_path)
  _run(window, [6, 7], traced)
  window.close()
  assert traced == [6, 7]


def test_a_run_that_ends_inside_stops_the_trace_once(tmp_path, traced):
  window = profiling.parse('3:6', tmp_path)
  _run(window, [3, 4], traced)
  window.close()
  window.close()
  assert traced == [str(tmp_path / 'profile'), 3, 4, 'stop']


def test_a_step_that_fails_leaves_a_trace_that_can_be_closed(tmp_path, traced):
  window = profiling.parse('3:6', tmp_path)
  window.before(3)
  window.close()
  assert traced == [str(tmp_path / 'profile'), 'stop']


def test_a_run_that_goes_back_stops_the_trace_and_makes_no_second(
  tmp_path, traced
):
  window = profiling.parse('3:6', tmp_path)
  _run(window, [3, 4, 2, 3, 4, 5, 6], traced)
  start = str(tmp_path / 'profile')
  assert traced == [start, 3, 4, 'stop', 2, 3, 4, 5, 6]


def test_the_profiler_s_own_file_has_the_steps_and_their_work_whole(tmp_path):
  """Steps dispatched ahead: each ends long after its call returned."""

  @jax.jit
  def work(x):
    return jax.lax.fori_loop(0, 400, lambda _, x: jnp.tanh(x @ x), x)

  x = work(jnp.eye(256))
  window = profiling.parse('3:5', tmp_path)
  for step in range(1, 7):
    running = not x.is_ready()
    window.before(step)
    if step == 3:
      assert running
      assert x.is_ready()
    x = work(x)
    running = not x.is_ready()
    window.after(step)
    if step == 4:
      assert running
      assert x.is_ready()
  (path,) = (tmp_path / 'profile').rglob('*.xplane.pb')
  events = [
    event
    for plane in jax.profiler.ProfileData.from_file(str(path)).planes
    for line in plane.lines
    for event in line.events
  ]
  steps = [dict(x.stats)['step_num'] for x in events if x.name == 'train']
  assert sorted(steps) == [3, 4]


def test_an_empty_text_is_no_window(tmp_path):
  assert profiling.parse('', tmp_path) is None


@pytest.mark.parametrize(
  'text', ['100', '100-105', '5:5', '6:5', '0:3', '-1:3', '1:2:3', 'a:b', ' ']
)
def test_what_is_no_range_is_refused_with_an_example(tmp_path, text):
  with pytest.raises(ValueError, match='START:STOP.*100:105') as error:
    profiling.parse(text, tmp_path)
  assert repr(text) in str(error.value)


def test_reading_a_text_writes_nothing(tmp_path):
  profiling.parse('3:5', tmp_path)
  assert not list(tmp_path.iterdir())
