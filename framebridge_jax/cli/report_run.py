"""The report of a run: one HTML page of what was trained and evaluated."""

import json
from typing import Any

import jax
import ml_collections
from absl import logging
from etils import epath

from framebridge_jax import build, files, saved, version
from framebridge_jax.cli import configs, evaluate, runs
from framebridge_jax.report import html
from framebridge_jax.training import goodput
from framebridge_jax.training import logging as run_logging

_TITLE = 'framebridge_jax: what this run learned'
_MOVES = (0.5, 2.0)
_LEAST_READ, _GOAL_READ = 0.4, 0.7
_LEAST_READ_REAL = 0.95


def write(config: ml_collections.ConfigDict, workdir: epath.PathLike) -> None:
  """Writes `report.html`; run `--mode=evaluate` first.

  Raises:
    ValueError: the workdir holds no run, or no scores.
  """
  workdir = epath.Path(workdir)
  saved.load_config(workdir)  # refuses a workdir without a run
  folder = workdir / evaluate.folder_name('')
  scores = _read_scores(folder / 'scores.json')
  lines = run_logging.read(workdir / 'metrics.jsonl')
  base = _base_scores(config)
  page = html.Report(
    title=config.title or _TITLE,
    summary=_summary(config, lines),
    facts=_facts(workdir, config, scores, lines),
    settings=[f'{name} = {value}' for name, value in configs.flatten(config)],
    figures=figures(scores, 'this run') + figures(base, 'shipped base'),
    loss=[(line['step'], line['loss']) for line in lines],
    sheet=folder / 'contact_sheet.png',
    examples=_examples(workdir, folder),
    notes=_notes(scores, base),
  )
  with files.replacing(workdir / 'report.html') as path:
    path.write_text(html.render(page))
  logging.info('Wrote %s', workdir / 'report.html')


def figures(scores: dict[str, Any], whose: str) -> list[html.Figure]:
  """The headline figures of one set of scores, judged."""
  if not scores:
    return []
  low, high = _MOVES
  n, k = scores['num_clips'], scores['num_futures']
  change = scores['change_ratio']
  best, copy = scores['best_psnr'], scores['copy_psnr']
  made = [
    html.Figure(
      name=f'Change energy, {whose}',
      value=f'{change:.2f} x the real clips',
      target=f'{low} x to {high} x',
      meaning='How much moves from frame to frame; 0 is a frozen picture.',
      passed=low <= change <= high,
    ),
    html.Figure(
      name=f'Best-of-{k} PSNR, {whose}',
      value=f'{best:.2f} dB',
      target=f'above {copy:.2f} dB, copying the first frame',
      meaning=f'The nearest of {k} futures to the true one, mean of {n} clips.',
      passed=best > copy,
    ),
  ]
  if 'read_ours' in scores:
    made.append(
      html.Figure(
        name=f'Digit read in the last frame, {whose}',
        value=f'{100 * scores["read_ours"]:.0f} %',
        target=f'at least {_LEAST_READ:.0%}, goal {_GOAL_READ:.0%}',
        meaning='A classifier of real digits reads the right one; '
        'chance is 10 %.',
        passed=scores['read_ours'] >= _LEAST_READ,
      )
    )
  if 'read_real' in scores:
    made.append(
      html.Figure(
        name=f'Digit read in real last frames, beside {whose}',
        value=f'{100 * scores["read_real"]:.0f} %',
        target=f'at least {_LEAST_READ_REAL:.0%}',
        meaning='The same classifier on the true clips; its ceiling.',
        passed=scores['read_real'] >= _LEAST_READ_REAL,
      )
    )
  return made


def _read_scores(path):
  if not path.is_file():
    raise ValueError(
      f'no scores at {path}; run --mode=evaluate with this workdir first'
    )
  return json.loads(path.read_text())


def _base_scores(config):
  """Measured scores that a shipped weight file comes with, if it does."""
  if not config.init_from:
    return {}
  path = build.weights_path(config.init_from).with_suffix('.json')
  return json.loads(path.read_text()) if path.is_file() else {}


def _summary(config, lines):
  steps = lines[-1]['step'] if lines else 0
  start = (
    f'continued from the weights {config.init_from!r}'
    if config.init_from
    else 'started from nothing'
  )
  return (
    f'A {config.model.name} network animates a first frame as a '
    f'{config.process.schedule} bridge with one time per frame. This run '
    f'{start} and trained for {steps} steps on {config.dataset}.'
  )


def _facts(workdir, config, scores, lines):
  sessions = runs.load_sessions(workdir)
  seconds = sum(session['seconds'] for session in sessions)
  facts = {
    'Training': f'{len(lines)} steps of {config.train.batch_size} clips; '
    f'{seconds:.0f} s in sittings that ran to their end',
    'Sampling': f'{scores["num_clips"] * scores["num_futures"]} clips in '
    f'{scores["seconds"]} s: {scores["sampler"]}, {scores["num_steps"]} '
    f'steps, grid {scores["grid"]}, guidance {scores["guidance"]}, seed '
    f'{scores["seed"]}',
    'Device': scores['device'],
    'Date': scores['date'],
    'Versions': f'framebridge_jax {version.__version__}, jax {jax.__version__}',
  }
  account = goodput.account(run_logging.read(workdir / run_logging.CLOCK))
  if account.wall:
    facts['Goodput'] = str(account)
  if sessions:
    facts['Command'] = sessions[-1]['command']
  return facts


def _examples(workdir, folder):
  truths = sorted((folder / 'truth').glob('*.gif'))
  return [
    html.Example(
      label=truth.stem, ours=workdir / 'samples' / truth.name, truth=truth
    )
    for truth in truths
  ]


def _notes(scores, base):
  notes = [
    'The future of a first frame is open: a sample that differs from the '
    'truth is not wrong for that. What must hold is that the given frame is '
    'kept exactly, that things move as much as they do in real clips, and '
    'that they keep their shape.',
    'The held-out clips show digits that no training clip shows.',
  ]
  if base:
    notes.append(
      'The run continues from a base checkpoint that the package ships. Its '
      f'figures were measured on {base["date"]} on {base["device"]} with the '
      'command in configs/quickstart.py, not in this run.'
    )
  if 'read_ours' not in scores:
    notes.append('No digits were read: the data set has none that we can.')
  return notes
