r"""Times Latte in JAX against a plain PyTorch Latte, in turns.

  python benchmarks/latte.py                            # S/2, batch 1, CPU
  python benchmarks/latte.py --profile                  # where the time goes
  python benchmarks/latte.py --jobs train --arms torch jax:remat=none \
    jax:remat=dots jax:remat=full                       # memory
  python benchmarks/latte.py --device=gpu --dtype=bfloat16 --model=b \
    --batch=32 --arms torch:compile jax jax:attention=cudnn

Jobs: a forward pass, a training step (error of eps, AdamW), and a sample of
50 DDIM steps without guidance.  An arm is `jax` or `torch` with options:

  jax:scan,remat=dots,attention=xla,onednn    torch:compile,mode=default

Each arm is a process, so XLA flags differ between arms.  All arms of a job
are compiled one after the other, then run in turns (A B C A B C ...); the
first one is 1.  Ratios are of neighbours in a turn.  Name an arm twice and
the machine's noise is the ratio of the two.  Every arm has the same weights
and inputs, and `apart` is the largest difference of its answer from the first
arm's, by the largest number.  On a GPU the arms of a job share its memory.

FLOPs are counted by hand (matrix products only; MFU is of these) and by XLA,
which counts a loop's body once: those of a scanned network or a sample do not
show all of their turns.

PyTorch is `pip install torch==2.13.0`; without it its arms are left out.  The
defaults take about 40 minutes on 2 quiet cores, `--model=tiny` with small
clips a few.  The last line of the output is JSON; put both under results/.
"""

import argparse
import contextlib
import dataclasses
import importlib.util
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile

import latte_job
import latte_tables
import numpy as np

from framebridge_jax import arguments

HERE = pathlib.Path(__file__).parent
# Dense bf16 products of a chip, by a word in its name.
PEAK_FLOPS = {'H200': 989e12}


def main() -> None:
  """Prints a markdown table, then one line of JSON."""
  options = _options()
  arms, missing = _runnable(options.arms)
  if missing:
    print(f'torch is not installed; left out: {", ".join(missing)}\n')
  if not arms:
    raise SystemExit('no arm is left to run')
  if options.profile:
    groups = [(*latte_job.PART_JOBS, 'forward', 'train')]
  else:
    groups = [(job,) for job in options.jobs]
  results = []
  for jobs in groups:
    results += measure(options, arms, jobs)
  if options.profile:
    print(latte_tables.profile(options.model, arms, results))
  else:
    print(latte_tables.table(results))
  print()
  print(json.dumps(_machine() | {'options': vars(options), 'rows': results}))


def measure(options, texts, jobs):
  """One row of figures for each job and arm."""
  rows = []
  with contextlib.ExitStack() as stack:
    folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
    arms = []
    for i, text in enumerate(texts):
      arm = Arm(options, text, folder / str(i))
      arms.append(stack.enter_context(arm))
    for job in jobs:
      answers = [arm.ask(job) for arm in arms]
      ready = [
        arm for arm, x in zip(arms, answers, strict=True) if 'facts' in x
      ]
      turns = [
        {arm: arm.ask(job)['seconds'] for arm in ready}
        for _ in range(options.rounds)
      ]
      for arm, answer in zip(arms, answers, strict=True):
        row = {'job': job, 'arm': arm.text} | answer
        if arm in ready:
          row |= _compared(turns, arm, ready[0])
          row['apart'] = _apart(arm.folder, ready[0].folder, job)
          row |= _speed(options, job, answer['facts'], row['seconds'][1])
        rows.append(row)
      print(f'{job}: done', file=sys.stderr)
  return rows


class Arm:
  """A process that waits for the names of jobs."""

  def __init__(self, options, text, folder):
    self.text, self.folder = text, folder
    folder.mkdir()
    row, chosen = arguments.parse_row(text, ARMS)
    script, own, environment = row(**chosen)
    names = ('model', 'patch', 'batch', 'frames', 'size', 'device', 'dtype')
    settings = latte_job.Settings(
      **{name: getattr(options, name) for name in names},
      steps=options.steps,
      options=own,
    )
    self.process = subprocess.Popen(
      [
        sys.executable,
        str(HERE / script),
        json.dumps(dataclasses.asdict(settings)),
        str(folder),
      ],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
      env={**os.environ, **_environment(options.device), **environment},
    )

  def __enter__(self):
    return self

  def __exit__(self, *error):
    self.process.stdin.close()
    self.process.stdout.close()
    try:
      self.process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
      self.process.kill()
      self.process.wait()

  def ask(self, job):
    """What the process says of the job; a process that has died has failed."""
    try:
      print(job, file=self.process.stdin, flush=True)
      line = self.process.stdout.readline()
    except BrokenPipeError:
      line = ''
    if line:
      return json.loads(line)
    return {'failed': f'the process ended ({self.process.wait()})'}


def jax_arm(
  *,
  scan: bool = False,
  remat: str = 'none',
  attention: str = 'default',
  onednn: bool = False,
):
  """Script, its options, and its environment."""
  flags = os.environ.get('XLA_FLAGS', '')
  if onednn:
    flags += ' --xla_cpu_use_onednn=true'
  own = {'scan': scan, 'remat': remat, 'attention': attention}
  return 'latte_jax.py', own, {'XLA_FLAGS': flags}


def torch_arm(*, compile: bool = False, mode: str = 'default'):
  """Script, its options, and its environment."""
  own = {'compile': compile, 'mode': mode}
  return 'latte_torch.py', own, {'TORCHINDUCTOR_FORCE_DISABLE_CACHES': '1'}


def _environment(device):
  return {
    'JAX_PLATFORMS': {'cpu': 'cpu', 'gpu': 'cuda'}[device],
    'JAX_ENABLE_COMPILATION_CACHE': 'false',
    # Arms share the device.
    'XLA_PYTHON_CLIENT_PREALLOCATE': 'false',
  }


def _runnable(texts):
  """Arms that can run here, and those that cannot."""
  for text in texts:
    arguments.parse_row(text, ARMS)
  if importlib.util.find_spec('torch'):
    return texts, []
  missing = [text for text in texts if text.split(':')[0] == 'torch']
  return [text for text in texts if text not in missing], missing


def _compared(turns, arm, first):
  seconds = [turn[arm] for turn in turns]
  ratios = [turn[arm] / turn[first] for turn in turns]
  return {'seconds': _spread(seconds), 'ratio': _spread(ratios)}


def _spread(values):
  return [min(values), statistics.median(values), max(values)]


def _apart(folder, first, job):
  got, want = (
    np.load(f / f'{job.replace("/", "_")}.npy') for f in (folder, first)
  )
  return float(np.abs(got - want).max() / np.abs(want).max())


def _speed(options, job, facts, seconds):
  if job not in latte_job.JOBS:
    return {}
  settings = {
    name.name: getattr(options, name.name, None)
    for name in dataclasses.fields(latte_job.Settings)
  }
  flops = latte_job.flops(latte_job.Settings(**settings), job)
  speed = {'flops': flops, 'flops_per_s': flops / seconds}
  peaks = [x for word, x in PEAK_FLOPS.items() if word in facts['device']]
  if peaks and options.dtype == 'bfloat16':
    speed['mfu'] = flops / seconds / peaks[0]
  return speed


def _machine():
  return {
    'cores': len(os.sched_getaffinity(0)),
    'load': os.getloadavg(),
    'python': platform.python_version(),
    'xla_flags': os.environ.get('XLA_FLAGS', ''),
  }


def _options():
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--model', choices=latte_job.SIZES, default='s')
  parser.add_argument('--patch', type=int, default=2)
  parser.add_argument('--batch', type=int, default=1)
  parser.add_argument('--frames', type=int, default=16)
  parser.add_argument('--size', type=int, default=32)
  parser.add_argument('--device', choices=('cpu', 'gpu'), default='cpu')
  parser.add_argument(
    '--dtype', choices=('float32', 'bfloat16'), default='float32'
  )
  parser.add_argument('--steps', type=int, default=50, help='of sampling')
  parser.add_argument('--rounds', type=int, default=7)
  parser.add_argument('--arms', nargs='+', default=_DEFAULT_ARMS)
  parser.add_argument(
    '--jobs', nargs='+', choices=latte_job.JOBS, default=latte_job.JOBS
  )
  parser.add_argument(
    '--profile', action='store_true', help='time the parts of a block instead'
  )
  options = parser.parse_args()
  if 1000 % options.steps:
    parser.error(f'--steps={options.steps}: want a divisor of 1000')
  return options


_DEFAULT_ARMS = ['torch', 'torch:compile', 'jax', 'jax:onednn', 'jax:scan']
# Seconds for a process to end in, once it has no more to do.
_PATIENCE = 10
ARMS = {'jax': jax_arm, 'torch': torch_arm}


if __name__ == '__main__':
  main()
