"""The judge that the package carries: what it is, and that it sees motion."""

import hashlib
import itertools
import json

import numpy as np
import pytest

from framebridge_jax.cli import measuring
from framebridge_jax.data.builders import physics_motion
from framebridge_jax.evaluation import (
  cache,
  conditional,
  corruptions,
  frechet,
  measures,
  phys,
)
from framebridge_jax.porting import readers, weights


@pytest.fixture(scope='module')
def judge():
  return phys.make(measuring.SHIPPED_READER)


def _clips(split='train', indices=None):
  records = physics_motion.open_sample(split)
  return [
    measures.Clip(
      name=f'{split}{i:03}',
      video=np.asarray(records[i]['video'].pixels),
      label=records[i]['label'],
    )
    for i in indices or range(len(records))
  ]


def _spoilt(clips, spoil):
  return [
    measures.Clip(
      name=x.name,
      video=np.ascontiguousarray(spoil(x.video, np.random.default_rng([0, i]))),
      label=x.label,
    )
    for i, x in enumerate(clips)
  ]


def _table(judge, clips):
  tables = measures.measure(clips, [judge], cache=cache.Cache(), batch_size=64)
  return tables['motion_reader']


def test_the_file_is_the_one_that_the_code_names(judge):
  params = weights.load(measuring.SHIPPED_READER).params
  assert weights.digest(params) == phys.SHIPPED
  assert judge.weights == 'shipped with the package'
  assert weights.count(params) == 298_090
  size = measuring.SHIPPED_READER.stat().st_size
  assert size < 1_300_000


def test_the_page_names_the_file_and_its_accuracy():
  import pages

  page = (pages.ROOT / 'docs' / 'evaluation.md').read_text()
  digest = hashlib.sha256(measuring.SHIPPED_READER.read_bytes()).hexdigest()
  assert digest in page
  with readers.open_safetensors(measuring.SHIPPED_READER) as file:
    accuracy = json.loads(file.metadata['test_accuracy'])
  assert accuracy >= 0.92
  assert f'{100 * accuracy:.1f} % of the 4,000 clips' in page


def test_it_tells_motion_and_a_frozen_clip_does_not(judge):
  """Ten clips are of scenes that it was trained on, ten are of new ones.

  Of 4,000 new ones it tells 96 % right; eight of these are of a hard scene.
  """
  clips = [*_clips('train'), *_clips('test'), *_clips('multi')]
  labels = np.array([clip.label for clip in clips])

  def right(clips):
    logits = _table(judge, sorted(clips, key=lambda x: x.name)).column('logits')
    order = np.argsort([clip.name for clip in clips])
    return np.mean(logits.argmax(axis=1) == labels[order])

  assert right(clips) >= 0.7
  frozen = _spoilt(clips, lambda v, rng: corruptions.freeze(v, rng, share=1.0))
  assert right(frozen) <= 0.4


def test_within_each_corruption_the_distance_grows(judge):
  """The ladder in the small: clips against themselves, more and more spoilt."""
  clips = [*_clips('train'), *_clips('test'), *_clips('multi')]
  real = frechet.fit(_table(judge, clips).column('features'))
  for kind, rungs in itertools.groupby(corruptions.LADDER, lambda x: x.kind):
    found = [
      frechet.value(
        real,
        frechet.fit(_table(judge, _spoilt(clips, x.spoil)).column('features')),
      )
      for x in rungs
    ]
    assert found == sorted(found), kind
    assert found[0] > 1e-3, kind


@pytest.mark.slow
def test_known_answers_come_in_the_right_order_on_true_futures(judge, tmp_path):
  """Rendered: truth below blurred means, below copies, below other scenes."""
  pytest.importorskip('mujoco')
  scenes, futures, half = 20, 24, 8
  config = physics_motion.make_config(
    size=32, train=1, test=1, scenes=scenes, futures=futures, seed=5
  )
  records = physics_motion.open_records(config, 'multi', data_dir=tmp_path)
  videos = np.stack(
    [records[i]['video'].pixels for i in range(len(records))]
  ).reshape(scenes, futures, 16, 32, 32, 3)
  truth, fresh = videos[:, : 2 * half], videos[:, 2 * half :]
  mean = truth.mean(axis=1, keepdims=True).round().astype(np.uint8)
  cases = {
    'truth': fresh,
    'mean': mean.repeat(half, 1),
    'copy': truth[:, :half, :1].repeat(16, 2),
    'other': np.roll(fresh, 1, axis=0),
  }

  def several(clips):
    flat = clips.reshape(-1, *clips.shape[2:])
    table = _table(
      judge,
      [
        measures.Clip(name=f'{i:05}', video=video)
        for i, video in enumerate(flat)
      ],
    )
    features = table.column('features').reshape(*clips.shape[:2], -1)
    return conditional.Several(features, clips)

  whole = several(truth)
  found = {
    name: conditional.scores(whole, several(clips), draws=0, seed=0)
    for name, clips in cases.items()
  }
  for score in ('recall', 'precision', 'energy'):
    values = {name: x[score]['value'] for name, x in found.items()}
    for wrong in ('mean', 'copy', 'other'):
      assert values['truth'] < values[wrong], (score, values)
  for score in ('recall', 'precision'):
    at = found['truth'][score]
    assert at['value'] == pytest.approx(at['floor'], rel=0.1)
  assert found['truth']['diversity']['value'] == pytest.approx(1, abs=0.1)
