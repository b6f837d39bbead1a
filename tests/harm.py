"""Ways to do harm to runs and their files, and to see that it was done."""

import contextlib
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import psutil

import commands

TIMEOUT = 120


def start(workdir, **knobs):
  """Starts a toy run of its own process."""
  return start_all([(workdir, knobs)])


def start_all(runs, environment=None):
  """Starts a process that makes toy runs, given as (workdir, knobs), in turn.

  It sees eight devices; `environment` is set beside what they need.
  """
  words = [x for where, knobs in runs for x in (str(where), json.dumps(knobs))]
  return subprocess.Popen(
    [sys.executable, str(commands.ROOT / 'tests' / 'toy_run.py'), *words],
    env=commands.environment()
    | {
      'PYTHONPATH': str(commands.ROOT),
      'XLA_FLAGS': '--xla_force_host_platform_device_count=8',
    }
    | (environment or {}),
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def end(process):
  """Exit code, output and errors of a process, when it has ended."""
  try:
    out, errors = process.communicate(timeout=TIMEOUT)
  except subprocess.TimeoutExpired:
    process.kill()
    raise
  return process.returncode, out, errors


def run(workdir, **knobs):
  """A toy run to its end: exit code, output and errors."""
  return end(start(workdir, **knobs))


def said(out, word):
  """What stands behind a word in the output of toy runs, run by run."""
  return [
    line.removeprefix(f'{word} ')
    for line in out.splitlines()
    if line.startswith(f'{word} ')
  ]


def losses(workdir):
  """Loss of every step of the record."""
  lines = map(json.loads, log(workdir).splitlines())
  return [line['loss'] for line in lines]


def hashes(workdir):
  """Hash of every step's batch in the record."""
  lines = map(json.loads, log(workdir).splitlines())
  return [line['batch'] for line in lines]


def wait_for(look, *, process, seconds=TIMEOUT):
  """Polls until `look` gives something; the process must live meanwhile."""
  stop = time.monotonic() + seconds
  while not (found := look()):
    assert process.poll() is None, end(process)
    assert time.monotonic() < stop, 'it never came'
    time.sleep(0.0005)
  return found


def kill(process):
  """SIGKILL; what the process had said until then."""
  process.send_signal(signal.SIGKILL)
  code, out, _ = end(process)
  return code, out


def saved(workdir):
  """Committed steps."""
  folder = workdir / 'checkpoints'
  paths = folder.iterdir() if folder.is_dir() else ()
  return sorted(int(path.name) for path in paths if path.name.isdigit())


def unfinished(workdir):
  """Folders of saves that were not committed."""
  folder = workdir / 'checkpoints'
  paths = folder.iterdir() if folder.is_dir() else ()
  return [path for path in paths if 'orbax-checkpoint-tmp' in path.name]


def manifest(workdir, step):
  """Digests of all arrays of a step."""
  path = workdir / 'checkpoints' / str(step) / 'digests' / 'digests.json'
  return json.loads(path.read_text())['arrays']


def log(workdir):
  """The run's record of every step, to the letter."""
  return (workdir / 'metrics.jsonl').read_text()


def log_lines(workdir):
  """Whole lines of the record so far."""
  path = workdir / 'metrics.jsonl'
  return path.read_text().count('\n') if path.exists() else 0


def files(folder):
  """All files of a step."""
  return sorted(path for path in folder.rglob('*') if path.is_file())


def fill(path):
  """Takes all the room of a disk."""
  with path.open('wb', buffering=0) as file, contextlib.suppress(OSError):
    while True:
      file.write(bytes(1000))


def flip_bit(path, random_numbers: random.Random):
  """Turns one bit of a file over."""
  data = bytearray(path.read_bytes())
  bit = random_numbers.randrange(8 * len(data))
  data[bit // 8] ^= 1 << bit % 8
  path.write_bytes(data)
  return bit


def children(pid):
  """Processes that a process has started."""
  return [child.pid for child in psutil.Process(pid).children(recursive=True)]


def alive(pid):
  """Whether a process still runs; one that nobody has buried does not."""
  try:
    return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
  except psutil.NoSuchProcess:
    return False


def wait_until(look, *, seconds=TIMEOUT):
  """Polls until `look` gives something, or the time is over."""
  stop = time.monotonic() + seconds
  while not (found := look()) and time.monotonic() < stop:
    time.sleep(0.05)
  return found


@contextlib.contextmanager
def small_disk(folder: pathlib.Path, size: str):
  """A file system of so many bytes at `folder`; needs root."""
  folder.mkdir()
  subprocess.run(
    ['mount', '-t', 'tmpfs', '-o', f'size={size}', 'tmpfs', str(folder)],
    check=True,
    capture_output=True,
  )
  try:
    yield folder
  finally:
    subprocess.run(['umount', '-l', str(folder)], check=True)


def can_mount():
  """Whether this user may mount."""
  return os.geteuid() == 0 and shutil.which('mount') is not None
