"""Counts trials, for the table of docs/reliability.md; makes tiny configs."""

import contextlib
import json
import os
import pathlib
import time

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

import commands
from framebridge_jax.cli import configs


@pytest.fixture
def trial():
  """`with trial(fault):` around one trial; what raises has not survived.

  With FRAMEBRIDGE_TRIALS=FILE every trial adds a line to the file, from which
  benchmarks/reliability.py makes the table.
  """
  path = os.environ.get('FRAMEBRIDGE_TRIALS')

  @contextlib.contextmanager
  def note(fault, count=1):
    start = time.perf_counter()
    survived = 0
    try:
      yield
      survived = count
    finally:
      if path:
        line = {
          'fault': fault,
          'trials': count,
          'survived': survived,
          'seconds': time.perf_counter() - start,
        }
        with pathlib.Path(path).open('a') as lines:
          lines.write(json.dumps(line) + '\n')

  return note


@pytest.fixture(scope='session')
def prepared(tmp_path_factory):
  """Where all runs of the session keep the prepared data set."""
  return tmp_path_factory.mktemp('prepared')


@pytest.fixture
def tiny_config(prepared):
  """Makes the config of a tiny run for `cli.train.run`; keys are dotted."""

  def make(**changed):
    config = configs.load_recipe(str(commands.ROOT / 'configs/quickstart.py'))
    config.update_from_flattened_dict(
      {
        **commands.TINY,
        'data.frames': 4,
        'cache_dir': str(prepared),
        'optimizer.schedule': 'constant',  # the same whatever the length
        **changed,
      }
    )
    return config

  return make


@pytest.fixture(scope='module')
def compiled_once(tmp_path_factory):
  """Equal programs of a module are compiled once, whoever asks for them."""
  wanted = {
    'jax_compilation_cache_dir': str(tmp_path_factory.mktemp('compiled')),
    'jax_persistent_cache_min_compile_time_secs': 0,
  }
  before = {name: getattr(jax.config, name) for name in wanted}
  _configure(wanted)
  yield
  _configure(before)


def _configure(values):
  for name, value in values.items():
    jax.config.update(name, value)
  compilation_cache.reset_cache()
