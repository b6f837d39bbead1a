"""Calls of the real command line, tiny."""

import json
import os
import pathlib
import socket
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]
TINY = {
  'data.train_clips': 48,
  'data.test_clips': 20,
  'model.patch': 8,
  'model.width': 16,
  'model.depth': 2,
  'model.heads': 2,
  'model.stem': 4,
  'init_from': '',
  'optimizer.learning_rate': 0.02,
  'optimizer.warmup_steps': 1,
  'train.batch_size': 4,
  'train.num_steps': 6,
  'train.log_every': 2,
  'train.checkpoint_every': 4,
  'train.sample_every': 100,
}


def command(mode, workdir, *, config=None, **overrides):
  """The words of one call; `a__b=1` stands for --config.a.b=1."""
  words = [sys.executable, '-m', 'framebridge_jax.main', f'--mode={mode}']
  words += [f'--workdir={workdir}']
  words += [f'--config={config}'] if config else []
  for name, value in overrides.items():
    words.append(f'--config.{name.replace("__", ".")}={value}')
  return words


def environment():
  """One device, and the network unplugged for well-behaved clients.

  The session's processes share what they compile: most run one toy.
  """
  nowhere = 'http://127.0.0.1:9'
  return {
    **os.environ,
    'XLA_FLAGS': '',
    'JAX_PLATFORMS': 'cpu',
    'JAX_COMPILATION_CACHE_DIR': os.environ['FRAMEBRIDGE_COMPILED'],
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
    'JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES': '-1',
    'http_proxy': nowhere,
    'https_proxy': nowhere,
    'no_proxy': 'localhost',
  }


def call(*args, **kwargs):
  """Runs a call to its end."""
  return subprocess.run(
    command(*args, **kwargs),
    cwd=ROOT,
    env=environment(),
    capture_output=True,
    text=True,
    timeout=300,
  )


def call_together(count, *args, devices=2, **kwargs):
  """Runs a call as several processes, to its end."""
  return subprocess.run(
    [
      'bash',
      'launch/local_processes.sh',
      str(count),
      *command(*args, **kwargs)[3:],
    ],
    cwd=ROOT,
    env=environment() | {'DEVICES': str(devices), 'PORT': str(free_port())},
    capture_output=True,
    text=True,
    timeout=300,
  )


def free_port():
  """One that is free, and the next one, too."""
  while True:
    with socket.socket() as one, socket.socket() as two:
      one.bind(('', 0))
      port = one.getsockname()[1]
      try:
        two.bind(('', port + 1))
      except OSError:
        continue
      return port


def train_words(**overrides):
  """Overrides of a tiny training of the quickstart's config."""
  tiny = {name.replace('.', '__'): value for name, value in TINY.items()}
  return {'config': 'configs/quickstart.py', **tiny, **overrides}


def losses(workdir):
  """Step and loss of every line that a run has logged."""
  lines = (workdir / 'metrics.jsonl').read_text().splitlines()
  return [(line['step'], line['loss']) for line in map(json.loads, lines)]
