"""Where time went: sums by hand, and that nothing is lost or counted twice."""

import dataclasses

import numpy as np
import pytest

from framebridge_jax.training import goodput


def born(time, step=1):
  return {'kind': 'born', 'time': time, 'step': step}


def window(time, last, seconds, *, steps=10, waited=0.0, saved=0.0):
  return {
    'kind': 'steps',
    'time': time,
    'step': last,
    'steps': steps,
    'seconds': seconds,
    'input': waited,
    'checkpoint': saved,
  }


def end(time):
  return {'kind': 'end', 'time': time, 'step': 0}


def parts(found):
  return {k: v for k, v in dataclasses.asdict(found).items() if v}


def test_an_undisturbed_run_starts_steps_waits_and_pauses():
  lines = [born(100), window(120, 10, 8, waited=1, saved=0.5)]
  lines += [window(131, 20, 10), end(133)]
  found = goodput.account(lines)
  assert parts(found) == {
    'start': 12,
    'steps': 16.5,
    'input': 1,
    'checkpoint': 0.5,
    'paused': 1 + 2,
  }
  assert found.wall == 33
  assert found.goodput == 0.5


def test_steps_behind_the_checkpoint_of_a_kill_are_repeated():
  """Of 20 steps 14 were saved: six of the second ten are taken again."""
  lines = [born(0), window(10, 10, 10), window(20, 20, 10, waited=5)]
  lines += [born(27, step=15), window(40, 30, 8, steps=16), end(40)]
  found = goodput.account(lines)
  assert parts(found) == {
    'steps': pytest.approx(10 + 4 - 2 + 8),
    'repeated': pytest.approx(6),
    'input': pytest.approx(2),
    'down': 7,
    'start': 5,
  }
  assert found.wall == pytest.approx(40)


def test_going_back_repeats_without_a_new_process():
  lines = [born(0), window(10, 10, 10), window(20, 20, 10)]
  lines += [{'kind': 'back', 'time': 23, 'step': 11}]
  lines += [window(33, 20, 9), end(33)]
  found = goodput.account(lines)
  assert parts(found) == {'steps': 19, 'repeated': 10, 'paused': 3 + 1}


def test_a_process_that_dies_before_its_first_window_only_starts():
  lines = [born(0), window(5, 10, 5), born(8, step=11), end(9)]
  lines += [born(20, step=11), window(26, 20, 5), end(26)]
  assert parts(goodput.account(lines)) == {'steps': 10, 'start': 2, 'down': 14}


def test_a_clock_that_is_set_back_stands_still():
  lines = [born(100), window(110, 10, 10), born(50, step=11)]
  lines += [window(60, 20, 9), window(125, 30, 9), end(125)]
  found = goodput.account(lines)
  assert found.wall == 25
  assert found.steps == 19


def test_all_parts_add_up_to_the_wall_however_a_run_goes():
  rng = np.random.default_rng(0)
  for _ in range(200):
    now, step, lines = 0.0, 0, []
    for _ in range(rng.integers(1, 6)):
      step = int(rng.integers(0, step + 1))
      lines.append(born(now, step + 1))
      for _ in range(rng.integers(0, 6)):
        took, gap = rng.uniform(0, 9, 2)
        count = int(rng.integers(1, 9))
        now, step = now + took + gap, step + count
        waited, saved = took * rng.dirichlet([1, 1, 1])[:2]
        lines.append(
          window(now, step, took, steps=count, waited=waited, saved=saved)
        )
      now += rng.uniform(0, 20)
      if rng.random() < 0.5:
        lines.append(end(now))
        now += rng.uniform(0, 20)
    found = goodput.account(lines)
    assert min(dataclasses.astuple(found)) >= -1e-9
    assert found.wall == pytest.approx(lines[-1]['time'])
    assert 0 <= found.goodput <= 1


def test_it_is_told_in_one_line():
  lines = [born(0), window(30, 10, 20), born(40, step=6)]
  lines += [window(100, 15, 40), end(100)]
  assert str(goodput.account(lines)) == (
    '50.0% of 100 s; start 30.0%, repeated 10.0%, down 10.0%'
  )


def test_nothing_makes_nothing():
  assert goodput.account([]).goodput == 0.0
