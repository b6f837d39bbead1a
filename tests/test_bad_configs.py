"""A bad config is refused with its place, before a device or a disk is touched.

What each message holds is tested in test_check.py, from the same table; here
every row is a recipe's own line, and the program's own way from the file to
the sentence.
"""

import subprocess
import time

import jax
import jax.numpy as jnp
import pytest

import bad_configs
import commands as cli
from framebridge_jax import check, main
from framebridge_jax.cli import configs, places, train

HEAD = """import bad_configs


def get_config():
  config = bad_configs.good()
  with config.unlocked(), config.ignore_type():
"""


def _recipe(folder, changes):
  """A recipe that makes these changes, and the line of each."""
  path, lines = folder / 'bad.py', {}
  text = HEAD
  for key, value in changes.items():
    lines[key] = f'{path}:{text.count(chr(10)) + 1}'
    shown = (
      f'float({str(value)!r})' if isinstance(value, float) else f'{value!r}'
    )
    text += f'    config.{key} = {shown}\n'
  path.write_text(text + '  return config\n')
  return str(path), lines


def _refused(recipe, workdir):
  """What the program says of a recipe."""
  config = configs.load_recipe(recipe)
  with pytest.raises(check.ConfigError) as error:
    train.run(config, workdir)
  return '; '.join(
    places.located(problem, recipe=recipe, argv=[], config=config)
    for problem in error.value.problems
  )


def test_the_table_is_long_and_says_nothing_twice():
  changes = [str(changes) for changes, _ in bad_configs.BAD]
  assert len(set(changes)) == len(changes) >= 100


@pytest.mark.parametrize(
  ('changes', 'holds'),
  bad_configs.BAD,
  ids=[str(changes) for changes, _ in bad_configs.BAD],
)
def test_a_bad_line_is_named_before_anything_is_compiled_or_written(
  changes, holds, tmp_path, compilations
):
  recipe, lines = _recipe(tmp_path, changes)
  said = _refused(recipe, tmp_path / 'run')
  for text in holds:
    assert text in said
  named = [line for line in lines.values() if line in said]
  assert named, said
  assert not compilations
  assert not (tmp_path / 'run').exists()


def test_the_listener_hears_a_compilation(compilations):
  jax.jit(lambda x: x * 7 + 1)(jnp.ones(11)).block_until_ready()
  assert compilations


# Changes that only the devices and the mesh can refuse; there are four here.
MISFITS = [
  ({'train.batch_size': 6}, ['train.batch_size 6', '(4 in all)', 'multiple']),
  ({'train.batch_size': 2, 'mesh.fsdp': 4}, ['batch_size 2', '(4 in all)']),
  ({'train.batch_size': 4, 'train.accumulate': 2}, ['(8 in all)']),
  ({'mesh.data': 3}, ['mesh', '3 devices']),
  ({'mesh.tensor': 3}, ['mesh', '3']),
]


@pytest.mark.parametrize(('changes', 'holds'), MISFITS, ids=str)
def test_a_batch_or_mesh_that_the_devices_cannot_share_is_refused_uncompiled(
  changes, holds, tmp_path, compilations
):
  recipe, _ = _recipe(tmp_path, changes)
  with pytest.raises(ValueError) as error:
    train.run(configs.load_recipe(recipe), tmp_path / 'run')
  for text in holds:
    assert text in str(error.value)
  assert not compilations
  assert not (tmp_path / 'run').exists()


def test_an_unknown_override_is_named_as_it_was_given():
  config = bad_configs.good()
  argv = ['main', '--config.seed=1', '--config.train.num_stps=3']
  with pytest.raises(ValueError) as error:
    main._parse_overrides(argv, config)
  assert str(error.value) == (
    'unknown config key train.num_stps; did you mean train.num_steps? '
    '(--config.train.num_stps=3)'
  )


def _timed(words):
  start = time.perf_counter()
  done = subprocess.run(
    words,
    cwd=cli.ROOT,
    env=cli.environment(),
    capture_output=True,
    text=True,
    timeout=120,
  )
  print(f'{time.perf_counter() - start:.1f} s from start to exit')
  assert done.returncode == 2, done.stderr
  (said,) = [x for x in done.stderr.splitlines() if x.startswith('error: ')]
  assert 'Traceback' not in done.stderr
  assert 'ompil' not in done.stderr
  return said


def test_the_program_names_the_line_of_a_recipe_and_the_argument(tmp_path):
  source = (cli.ROOT / 'configs' / 'quickstart.py').read_text()
  path = tmp_path / 'mine.py'
  path.write_text(source.replace("'heads': 4", "'heads': 3"))
  (line,) = [
    i for i, x in enumerate(path.read_text().splitlines(), 1) if "'heads'" in x
  ]
  words = cli.command('train', tmp_path / 'run', config=path, model__width=100)
  said = _timed(words)
  assert 'model.width 100 is not a multiple of 4 model.heads (3)' in said
  assert 'model.width by --config.model.width=100' in said
  assert f'model.heads by {path}:{line}' in said
  assert not (tmp_path / 'run').exists()


def test_modes_other_than_training_name_the_argument_too(tmp_path):
  said = _timed(cli.command('doctor', tmp_path, require='gpuu'))
  assert "require is 'gpuu', want one of" in said
  assert said.endswith('(--config.require=gpuu)')
