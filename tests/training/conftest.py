"""A run's meter over real files, fed by hand, by a clock that a test turns."""

import types

import jax.numpy as jnp
import pytest

from framebridge_jax.training import logging as run_logging
from framebridge_jax.training import progress


class Clock:
  """A clock that the test turns."""

  def __init__(self):
    self.now = 0.0

  def turn(self, seconds):
    self.now += seconds


@pytest.fixture
def clock(monkeypatch):
  made = Clock()
  monkeypatch.setattr(progress.time, 'perf_counter', lambda: made.now)
  return made


@pytest.fixture
def said(monkeypatch):
  """Lines of the log."""
  lines = []
  monkeypatch.setattr(
    progress.logging, 'info', lambda form, *args: lines.append(form % args)
  )
  return lines


@pytest.fixture
def on_terminal(monkeypatch):
  """Makes standard error look like one."""
  return lambda: monkeypatch.setattr(
    progress.sys.stderr, 'isatty', lambda: True, raising=False
  )


@pytest.fixture
def on_device(monkeypatch):
  """Turns the test's devices into four of a kind, with memory."""

  def make(kind, memory=((1, 2),)):
    devices = [
      types.SimpleNamespace(
        device_kind=kind,
        memory_stats=lambda x=x: {
          'bytes_in_use': x[0],
          'peak_bytes_in_use': x[1],
          'bytes_limit': 99,
        },
      )
      for x in memory
    ]
    monkeypatch.setattr(progress.jax, 'devices', lambda: devices)
    monkeypatch.setattr(progress.jax, 'local_devices', lambda: devices)

  return make


class Run:
  """A meter over real files, fed by hand."""

  def __init__(self, workdir, clock, **options):
    self.workdir = workdir
    self.clock = clock
    self.logger = run_logging.Logger(workdir, first_step=1)
    options = {'first': 0, 'num_steps': 9, **options}
    self.meter = progress.Progress(self.logger, **options)

  def __enter__(self):
    return self

  def __exit__(self, *exception):
    self.meter.__exit__()
    self.logger.__exit__(*exception)

  def take(self, step, seconds=1.0, *, record=None, **scalars):
    self.clock.turn(seconds)
    scalars = {'loss': 1.0, **scalars}
    self.meter.add(
      step,
      {name: jnp.asarray(x, jnp.float32) for name, x in scalars.items()},
      frames=10,
      record=record,
    )

  def wait(self, name, seconds):
    with self.meter.waiting(name):
      self.clock.turn(seconds)

  @property
  def lines(self):
    return run_logging.read(self.workdir / 'metrics.jsonl')

  @property
  def windows(self):
    return run_logging.read(self.workdir / 'performance.jsonl')


@pytest.fixture
def start(tmp_path, clock):
  """Starts a run; all are closed at the end."""
  runs = []

  def make(**options):
    runs.append(Run(tmp_path, clock, **options))
    return runs[-1]

  yield make
  for run in runs:
    run.__exit__(None, None, None)
