"""Scores of a run or of any system's videos by a protocol."""

import json

import ml_collections
import numpy as np
from absl import logging
from etils import epath

from framebridge_jax import files
from framebridge_jax.cli import bench as benches
from framebridge_jax.cli import configs, given, ladder, runs, samples
from framebridge_jax.evaluation import (
  conditional,
  measures,
  metrics,
  provenance,
  sample_folder,
  seeds,
  sides,
  tables,
)
from framebridge_jax.training import hosts

RESULT = 'result.json'
RESULTS = 'results.jsonl'

Tables = dict[str, measures.Table]


def run(config: ml_collections.ConfigDict, workdir: epath.Path) -> None:
  """Scores by `config.protocol`, or does what the config wants in its place.

  Raises:
    ValueError: the protocol, the samples or the weights cannot be used.
  """
  if config.videos and config.seeds > 1:
    raise ValueError(
      f'seeds is {config.seeds} and videos are given; they are what they are, '
      f'whatever the seed'
    )
  protocol, notes = benches.changed(config)
  scored = not (config.give or config.ladder)
  folder = samples.judge(config, workdir, protocol) if scored else None
  runs.make_workdir(workdir)
  bench = benches.open_bench(config, workdir, protocol)
  if config.give:
    given.write(bench, epath.Path(config.give))
  elif config.ladder:
    ladder.write(bench, workdir)
  else:
    _score(bench, folder, notes)


def _score(bench, folder, notes):
  config = bench.config
  beside = _beside(bench)
  found, sources, facts = [], [], []
  for seed in range(config.seed, config.seed + config.seeds):
    source = (
      samples.Own(bench, seed)
      if folder is None
      else samples.Videos(bench, folder)
    )
    found.append(_scores(bench, source, beside, show=not found))
    facts.append({**source.facts, 'seconds': source.seconds()})
    sources.append(source)
  scores = seeds.combine(found)
  result = {
    'protocol': config.protocol,
    'method': sources[0].name,
    'tier': sources[0].tier,
    'seed': config.seed,
    'training_step': facts[0].get('training_step'),
    'num_steps': facts[0].get('num_steps'),
    'seconds': facts[0].get('seconds'),
    'notes': sorted({*notes, *(x for y in sources for x in y.notes)}),
    'undertrained': _undertrained(scores),
    'scores': scores,
    'clips': _told(bench.protocol),
    'samples': facts,
    'config': {key: _plain(value) for key, value in configs.flatten(config)},
    **provenance.here(),
  }
  _write(bench, result)


def _beside(bench) -> dict[str, Tables]:
  """Tables of the real side, the floor and the copies of first frames."""
  names = bench.measures_of(real=True)
  every = bench.measures_of(real=False)
  reader, layout = bench.reader, bench.layout
  logging.info(
    'Real side: %d clips of %s, split %s',
    len(layout.real),
    bench.protocol.dataset,
    bench.protocol.split,
  )
  beside = {
    'real': bench.measure(reader.clips(layout.real), names),
    'floor': bench.measure(reader.clips(layout.floor), every),
  }
  if layout.against is not layout.real:
    beside['against'] = bench.measure(reader.clips(layout.against), names)
  if bench.config.copies:
    beside['copy'] = bench.measure(reader.copies(layout.floor), every)
  return beside


def _scores(bench, source, beside, *, show):
  every = bench.measures_of(real=False)
  clips = samples.shown(bench, source) if show else source.clips()
  ours = bench.measure(clips, every)
  _judge_real(ours, beside)
  found = {}
  for name in bench.metrics:
    metric = metrics.METRICS[name]
    sides_of = {
      side: table.get(metric.measure) for side, table in beside.items()
    }
    found[name] = metrics.score(
      metric,
      metrics.Sides(ours=ours[metric.measure], **sides_of),
      draws=bench.config.draws,
      seed=bench.config.seed,
    )
  if bench.protocol.several:
    found |= _scene_scores(bench, source)
  return found


def _judge_real(ours, beside):
  """Refuses samples that are real clips to the bit."""
  for name, table in ours.items():
    if table.measure.needs:
      continue
    real = {
      digest
      for side in ('real', 'floor')
      if name in beside[side]
      for digest in beside[side][name].digests
    }
    same = sum(digest in real for digest in table.digests)
    if same > _COINCIDENCE * len(table.digests):
      raise sample_folder.SampleError(
        f'{same} of {len(table.digests)} samples are clips of the real side to '
        f'the bit; give the samples of a system'
      )


def _scene_scores(bench, source):
  """Scores against several true futures of one first frame.

  There are few scenes: every host reads all of them.
  """
  reader = bench.several.whole()
  count, each = sides.futures_of(reader.source)
  asked = bench.protocol.several
  firsts = np.arange(count) * each
  copy = None
  if bench.config.copies:
    copy = _several(bench, reader.copies(firsts), (count, 1))
    copy = conditional.Several(*(np.repeat(x, asked, axis=1) for x in copy))
  return conditional.scores(
    _several(bench, reader.clips(np.arange(count * each)), (count, each)),
    _several(bench, source.scenes(asked), (count, asked)),
    copy,
    draws=bench.config.draws,
    seed=bench.config.seed,
  )


def _several(bench, clips, shape) -> conditional.Several:
  """Features and pixels of clips [scenes, futures] in the order of names."""
  clips = sorted(clips, key=lambda clip: clip.name)
  table = bench.measure(clips, [_JUDGE])[_JUDGE]
  features = table.column('features')
  pixels = np.stack([clip.video for clip in clips])
  return conditional.Several(
    features.reshape(*shape, -1), pixels.reshape(*shape, *pixels.shape[1:])
  )


def _undertrained(scores) -> bool | None:
  """Whether copies of the first frame do as well; None: were not scored.

  Nothing is to be concluded from a comparison with such a system.
  """
  beaten = [
    score['value'] < score['copy']
    for name, score in scores.items()
    if name in _MUST_BEAT_COPIES and score.get('copy') is not None
  ]
  return not all(beaten) if beaten else None


def _told(protocol):
  return {
    key: getattr(protocol, key)
    for key in ('dataset', 'split', 'frames', 'stride', 'size', 'text')
  }


def _plain(value):
  return list(value) if isinstance(value, tuple) else value


def _write(bench, result):
  """On the first host: the others have the same."""
  if not hosts.first():
    return
  bench.folder.mkdir(parents=True, exist_ok=True)
  with files.replacing(bench.folder / RESULT) as path:
    path.write_text(json.dumps(result, indent=1) + '\n')
  tables.append(bench.workdir / RESULTS, tables.rows_of(result))
  for name, score in result['scores'].items():
    logging.info('%s', _line(name, score))
    for warning in score['warnings']:
      logging.warning('%s: %s', name, warning)
  if result['undertrained']:
    logging.warning(
      'Copies of the first frame score as well: conclude nothing from a '
      'comparison with this system'
    )
  logging.info('Wrote %s', bench.folder / RESULT)


def _line(name, score):
  parts = [f'{name}: {tables.shown(score["value"])}']
  if score['low'] is not None:
    low, high = (tables.shown(score[x]) for x in ('low', 'high'))
    parts.append(f'[{low}, {high}]')
  for key in ('floor', 'copy'):
    if score.get(key) is not None:
      parts.append(f'{key} {tables.shown(score[key])}')
  parts.append(f'n {score["samples"]}')
  if 'real' in score:
    parts.append(f'against {score["real"]}')
  return ', '.join(parts)


_JUDGE = 'motion_reader'
_COINCIDENCE = 0.01  # of samples, that may be equal to real clips
_MUST_BEAT_COPIES = ('fvd', 'cd_fvd', 'fd_phys', 'recall')
