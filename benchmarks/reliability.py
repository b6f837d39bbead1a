"""Does harm to training runs, and writes docs/reliability.md from what it saw.

  python benchmarks/reliability.py
  python benchmarks/reliability.py --slow --kills=20 --kills-in-saves=15

It runs the tests in tests/faults, each of which also checks that the harm was
done, and counts their trials.  The first line takes about 4 minutes on 2 cores,
the second, with five times the bit flips and kills, about 20.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterable

import jax
import psutil

ROOT = pathlib.Path(__file__).parents[1]
PAGE = ROOT / 'docs' / 'reliability.md'
# Tests with a trial for each of so many seeds, by the option that limits them.
SEEDS = {
  'kills': (
    'test_kills.py::test_a_run_killed_at_a_random_time_goes_on_to_the_bit',
    60,
  ),
  'kills_in_saves': (
    'test_kills.py::'
    'test_a_run_killed_inside_a_save_goes_on_from_the_one_before',
    40,
  ),
}


def main() -> None:
  """Runs the trials and writes the page."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--slow', action='store_true', help='the slow ones too')
  for name, (_, most) in SEEDS.items():
    option = f'--{name.replace("_", "-")}'
    parser.add_argument(option, type=int, default=most)
  options = parser.parse_args()
  start = datetime.datetime.now(datetime.UTC)
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / 'trials.jsonl'
    summary = _run(options, path)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
  facts = {
    'command': shlex.join(
      ['python', 'benchmarks/reliability.py', *sys.argv[1:]]
    ),
    'code': _commit(),
    'hardware': _hardware(),
    'software': f'CPython {platform.python_version()}, jax {jax.__version__}',
    'date': start.date().isoformat(),
    'duration': _minutes(datetime.datetime.now(datetime.UTC) - start),
    'tests': summary,
  }
  PAGE.write_text(page(facts, lines))
  print(f'{PAGE}: {summary}')


def _run(options, path):
  """Runs pytest, with the trials going to a file; its last line."""
  words = [sys.executable, '-m', 'pytest', '-q', 'tests/faults']
  words += ['-m', 'slow or not slow'] if options.slow else []
  for name, (test, most) in SEEDS.items():
    for seed in range(getattr(options, name), most):
      words += ['--deselect', f'tests/faults/{test}[{seed}]']
  done = subprocess.run(
    words,
    cwd=ROOT,
    env={**os.environ, 'FRAMEBRIDGE_TRIALS': str(path)},
    stdout=subprocess.PIPE,
    text=True,
  )
  print(done.stdout)
  return done.stdout.strip().splitlines()[-1].strip('= ')


def page(facts: dict[str, str], lines: Iterable[dict]) -> str:
  """The text of docs/reliability.md.

  Args:
    facts: of the measurement, by their names.
    lines: of the file that the trials wrote.

  Raises:
    KeyError: a fault is not in MEANINGS.
  """
  found: dict[str, list[dict]] = {}
  for line in lines:
    found.setdefault(line['fault'], []).append(line)
  unknown = found.keys() - MEANINGS.keys()
  if unknown:
    raise KeyError(f'no meaning of {sorted(unknown)} in MEANINGS')
  rows = [
    _row(fault, meaning, found[fault])
    for fault, meaning in MEANINGS.items()
    if fault in found
  ]
  table = '\n'.join(
    [
      '| fault | what must hold | trials | survived | worst, s |',
      '|---|---|---|---|---|',
      *rows,
    ]
  )
  about = '\n'.join(
    ['| | |', '|---|---|', *(f'| {k} | {v} |' for k, v in facts.items())]
  )
  return INTRODUCTION.format(table=table, about=about)


def _row(fault, meaning, trials):
  counts = [sum(x[name] for x in trials) for name in ('trials', 'survived')]
  # A line may stand for several trials that were made at once.
  worst = max(x['seconds'] / x['trials'] for x in trials)
  return f'| {fault} | {meaning} | {counts[0]} | {counts[1]} | {worst:.1f} |'


def _commit():
  def git(*words):
    return subprocess.run(
      ['git', *words], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()

  changed = git('status', '--porcelain', '--', 'framebridge_jax', 'tests')
  suffix = ' and changes on top of it' if changed else ''
  return git('rev-parse', '--short', 'HEAD') + suffix


def _hardware():
  memory = psutil.virtual_memory().total / 2**30
  return (
    f'{os.cpu_count()} {platform.machine()} cores, {memory:.0f} GiB; load '
    f'{os.getloadavg()[2]:.1f} in the last 15 minutes, the trials included'
  )


def _minutes(duration):
  return f'{duration.total_seconds() / 60:.0f} minutes'


# What each fault is, in words that stand on the page, in the page's order.
MEANINGS = {
  'same seed twice': 'losses, batches and the last state are equal to the bit',
  'SIGKILL at a random time': (
    'the same command goes on from the last checkpoint or a later one; every '
    'loss, batch hash and the last state equal those of a run that nobody '
    'disturbed, to the bit'
  ),
  'SIGKILL inside a save': (
    'a state of 50 MB was half written; the run goes on from the checkpoint '
    'before, to the same bits, and nothing half written stays'
  ),
  'SIGKILL at a named point of a save': (
    'before it, in the middle, before and after the digests, before and after '
    'the commit, before old ones go, after the log: as above'
  ),
  'saves, restarts and kills inside saves at random': (
    'the newest, every n-th and the best checkpoint are there, and no other'
  ),
  'SIGTERM or SIGINT': (
    'the step is saved, the code is 143 or 130, a second signal changes '
    'nothing, and the run goes on at that very step'
  ),
  'SIGTERM to the supervisor': 'the child has saved and is gone',
  'crash loop': 'five tries with growing waits between, then code 5',
  'two trainers in one workdir': 'the second is refused, the first goes on',
  'one bit flipped in a checkpoint': (
    'the state is exact, or the step is named and the one before it comes back '
    'exact; never a wrong number'
  ),
  'a file of a checkpoint truncated, emptied or deleted': 'the same',
  'a part of a checkpoint deleted': 'the same',
  'every checkpoint damaged': (
    'code 3, each step named; nothing changed, nothing begun anew'
  ),
  'state overwritten while it is saved': (
    'what is saved, and its digests, are of the moment of the call'
  ),
  'a state that is not finite': (
    'kept apart in `bad/`, never a checkpoint, and refused on reading'
  ),
  'disk full': (
    'older checkpoints stay exact, nothing half written stays, the next save '
    'works once there is room; the run stops or goes on as told'
  ),
  'disk full, and a log to write': (
    'lines wait for room and lose nothing; TensorBoard goes without; it is '
    'told once, and again if lines are lost in the end'
  ),
  'file size limited': 'the save fails, with a name, and leaves nothing',
  'read-only workdir': 'refused before the first step',
  'workdir removed while running': 'the run ends with code 1 and says so',
  'path that Orbax cannot read again': (
    'a workdir with `*`, `?`, `[`, `]` or a backslash in its path is refused'
  ),
  'other time zone, language, clock; odd path': (
    'a run resumed a year earlier, elsewhere, in a path of 200 letters with '
    'spaces and other scripts, goes on to the same bits'
  ),
  'restored on another number of devices': (
    'on 1, 2, 4 and 8 the state comes back to the bit, and the next loss '
    'agrees within 1e-6'
  ),
  'eight devices instead of one': (
    'data parallel and sharded: the same batches, and losses within 1e-6 over '
    '50 steps'
  ),
  'a mesh of several axes instead of one device': (
    'a small Latte takes the same steps: losses within 1e-6 over 50 of them'
  ),
  'killed again and again': (
    'the goodput that is told is within 5 % of 1 - (I / 2 + R) / F, for kills '
    'every F s, I s between saves and R s to start; its parts add up to the '
    'time that passed within 1 %'
  ),
  'a process missing at the start': (
    'those that came say which is missing, and end'
  ),
  'one of two processes killed': (
    'the other says which, and ends within 15 s; started again, both end with '
    'the bits of a run that nobody disturbed'
  ),
  'one of two processes killed in a save': (
    'the step is not there; both go on from the one before'
  ),
  'one of two processes stopped for 30 s': (
    'both go on, or both end and go on when started again; no deadlock'
  ),
  'SIGTERM to one of two processes': 'both end after the same step, saved',
  'data opened at any batch': 'the batches are those of the whole sequence',
  'crash at a random step': (
    'over five crashes, across ends of epochs, no batch comes twice or is left '
    'out'
  ),
  'SIGKILL of a run with reading processes': (
    'the same, and the reading processes end too'
  ),
  'another number of reading processes': 'the same batches',
  'another number of threads, or of batches held ready': 'the same batches',
  'data that cannot be trained on': (
    'empty, broken, too short, unreadable, of other classes: one sentence, '
    'before anything is compiled'
  ),
  'fewer clips than a batch': 'clips are repeated within a batch',
  'loss not finite in one or two batches': (
    'the state equals, to the bit, that of a run that never saw them; the dump '
    'names their clips'
  ),
  'a bad region: rolled back behind it': (
    'as if those batches, and the few before them that were taken back, had '
    'not been there, to the bit; each step stands in the log once'
  ),
  'resumed after a roll-back': (
    'goes on behind the bad region, to the same bits'
  ),
  'a bad region: stopped': 'code 4, with the last good checkpoint named',
  'a run that blows up': 'code 4 for a learning rate of 1e30',
  'a loss 10,000 times the usual': 'told; skipped as above if asked for',
}

INTRODUCTION = """\
# Reliability

What happens to a training run when something goes wrong, and how often that was
tried. How to use it is in [training](training.md#when-something-breaks).

## What is promised

- **Nothing is lost but the steps since the last checkpoint.** A run that dies,
  however, goes on with the same command. On one machine and the same number of
  devices its losses, its data and its final state are equal, bit for bit, to
  those of a run that nobody disturbed. On another number of devices a
  checkpoint comes back to the bit, and losses agree within 1e-6.
- **Nothing is silently wrong.** Every array has a SHA-256 digest in the same
  commit. What is read is held against it. A damaged checkpoint is named, moved
  to `damaged/` and passed over for the newest whole one; if there is none the
  run ends, and never begins anew by itself.
- **Nothing is half written.** A checkpoint is there as a whole or not at all.
  A save that fails leaves nothing, spoils no older one, and is told within a
  step.
- **Bad numbers do not get in.** A step whose loss, gradient or update is not
  finite changes nothing. Many in a row end the run or send it back behind them.

The ways a run ends:

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | a checkpoint could not be written, or a bug, with a traceback |
| 2 | the config, the data or the workdir is refused, in one sentence |
| 3 | there is no whole checkpoint where one is needed |
| 4 | too many steps in a row were not finite |
| 5 | under `supervise`: five tries in a row without a new checkpoint |
| 6 | of several processes one did not come, or died; it is named |
| 130, 143 | asked to end by SIGINT or SIGTERM; the step is saved |

## What is not promised

- **Several hosts.** Processes that train as one were tried two at a time, on
  one machine ([scaling](scaling.md#many-hosts)). Devices beside the first were
  virtual ones of a CPU.
- **GPUs and TPUs.** Their kernels may add in another order from run to run, so
  that equal bits need deterministic ones; nothing here was measured on them.
- **Object stores and network disks.** Commits rest on a rename that is atomic,
  and locks on `flock`. Local file systems have both.
- **Damage that no digest sees**: memory that errs before the digest is taken.
- **Power cuts.** A killed process was tried, a machine that loses what its disk
  had not yet written was not.
- **Equal bits across versions** of JAX or of this package, or across kinds of
  CPU.

## What was tried

Every trial is also checked for the harm itself: the kill came before the end,
the bit differs, the disk was full, the save was cut. *Survived* means that all
of *what must hold* held. *Worst* is the longest that one trial took, with the
start of its processes.

{table}

The trials use networks of a few thousand parameters, or 50 MB of state where
a save must take its time. They go through the package's own loop, checkpoints,
pipeline and guards, and many through the command line.

{about}

The page is written by `benchmarks/reliability.py`.
"""


if __name__ == '__main__':
  main()
