"""Which checkpoints stay, over any sequence of saves and restarts."""

import datetime
import logging
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from orbax.checkpoint import checkpoint_managers

from framebridge_jax.training import retention


class _Info(NamedTuple):
  step: int
  time: datetime.datetime
  metrics: dict


def _stay(keep, saved, losses):
  """Saves one after the other, each time dropping what need not stay."""
  kept = []
  for step in saved:
    kept.append((step, losses[step]))
    infos = [
      _Info(k, datetime.datetime.now(datetime.UTC), {'loss': loss})
      for k, loss in kept
    ]
    flags = keep.policy().should_preserve(
      infos, context=checkpoint_managers.PreservationContext()
    )
    kept = [x for x, stays in zip(kept, flags, strict=True) if stays]
  return [step for step, _ in kept]


@settings(max_examples=60, deadline=None)
@given(
  st.lists(st.integers(1, 60), min_size=1, max_size=20, unique=True),
  st.integers(1, 3),
  st.sampled_from([0, 5, 10]),
  st.booleans(),
  st.randoms(use_true_random=False),
)
def test_the_last_every_nth_and_the_best_stay_and_no_more(
  saved, last, every, best, random
):
  saved = sorted(saved)
  ranks = random.sample(range(len(saved)), len(saved))
  losses = dict(zip(saved, map(float, ranks), strict=True))
  keep = retention.Keep(last=last, every=every, best='loss' if best else '')
  want = set(saved[-last:])
  want |= {step for step in saved if every and step % every == 0}
  if best:
    want.add(min(saved, key=losses.get))
  assert _stay(keep, saved, losses) == sorted(want)


@pytest.mark.parametrize('loss', [float('nan'), float('inf'), None])
def test_a_step_without_a_number_is_never_the_best(loss):
  keep = retention.Keep(last=1, best='loss')
  metrics = {} if loss is None else {'loss': loss}
  assert keep.value(metrics) == float('inf')


def test_strangers_are_told_of_once_and_left_alone(tmp_path, caplog):
  for name in ('3', '7', '9.orbax-checkpoint-tmp', 'notes.txt', 'copy of 3'):
    (tmp_path / name).mkdir()
  with caplog.at_level(logging.WARNING, 'absl'):
    retention.warn_of_strangers(tmp_path)
  (record,) = caplog.records
  assert record.getMessage().endswith('left alone: copy of 3, notes.txt')
  assert len(list(tmp_path.iterdir())) == 5
