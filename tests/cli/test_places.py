"""Where a key got its value: the recipe's line, or the argument."""

import pathlib

import ml_collections
import pytest

from framebridge_jax.cli import configs, places

RECIPE = """import ml_collections


def _shared(config):
  return config


def get_config(arg=None):
  config = ml_collections.ConfigDict()
  config.seed = 7
  config.data = {
    'size': 32,
    'frames': 4,
  }
  config.mesh = {'frames': 1}
  config.mesh['frames'] = 2
  config['codec'] = 'identity'
  config.deep = {'er': {'est': 1}}
  config.share = 0.5 if arg else 0.25
  config.twice = int(1) if arg else 0
  if arg:
    config.twice = int(2)
  _change(config)
  return config


def _change(config):
  setattr(config, 'seed', 8)
  setattr(config, 'hidden', 1)
"""


@pytest.fixture
def recipe(tmp_path):
  path = tmp_path / 'r.py'
  path.write_text(RECIPE)
  return str(path)


def _said(problem, recipe, *argv):
  none = ml_collections.ConfigDict()
  config = configs.load_recipe(recipe) if recipe else none
  return places.located(problem, recipe=recipe, argv=argv, config=config)


@pytest.mark.parametrize(
  ('problem', 'text'),
  [
    ('data.size is 31, want', "'size': 32,"),
    ('data.frames is 1, want', "'frames': 4,"),
    ('mesh.frames is 0, want', "config.mesh['frames'] = 2"),
    ('codec is 3', "config['codec']"),
    ('deep.er.est is 1', 'config.deep ='),
    ('share is 0.25', 'config.share ='),
    ('data is a section', 'config.data ='),
    ('unknown config key data.size; did you mean data.frames?', "'size': 32,"),
  ],
)
def test_a_key_is_placed_at_the_line_that_sets_it(problem, text, recipe):
  (line,) = [
    i
    for i, x in enumerate(RECIPE.splitlines(), 1)
    if x.strip().startswith(text)
  ]
  assert _said(problem, recipe) == f'{problem} ({recipe}:{line})'
  assert _said(problem, f'{recipe}:x=1').startswith(problem)


def test_every_line_that_may_have_set_a_key_is_named(recipe):
  assert _said('twice is 0', recipe).endswith('r.py:20 or 22)')


@pytest.mark.parametrize(
  'problem',
  [
    'seed is 8, want',  # a function changed what the recipe had set
    'hidden is 1, want',  # a function set it
    'the config lacks data',
    'no such file.py',
    '',
  ],
)
def test_nothing_is_said_of_what_has_no_place(problem, recipe):
  assert _said(problem, recipe) == problem
  assert _said(problem, None) == problem


def test_an_argument_goes_before_the_recipe_and_the_last_one_counts(recipe):
  argv = '--config.seed=1', '--config.data.size=9', '-config.data.size=31'
  assert _said('data.size is 31', recipe, *argv) == (
    'data.size is 31 (-config.data.size=31)'
  )
  assert _said('data.size is 31', None, '--config.data.size', '31').endswith(
    ' (--config.data.size)'
  )
  assert _said('flag is False', None, '--noconfig.flag').endswith(
    ' (--noconfig.flag)'
  )


def test_a_section_is_placed_at_an_argument_for_one_of_its_keys():
  said = _said('data: too small', None, '--config.data.size=2')
  assert said == 'data: too small (--config.data.size=2)'


def test_a_key_is_not_taken_for_another_that_begins_like_it():
  argv = '--config.seeds=3', '--config.data.size_of=1'
  assert _said('seed is 8', None, *argv) == 'seed is 8'
  assert _said('data.size is 8', None, *argv) == 'data.size is 8'


def test_both_keys_of_a_contradiction_are_placed(recipe):
  said = _said(
    'data.size 31 and data.frames 4 differ', recipe, '--config.data.size=31'
  )
  assert said == (
    'data.size 31 and data.frames 4 differ (data.size by '
    f'--config.data.size=31, data.frames by {recipe}:13)'
  )


def test_the_quickstart_places_its_own_keys_and_no_others():
  path = str(pathlib.Path(__file__).parents[2] / 'configs' / 'quickstart.py')
  lines = pathlib.Path(path).read_text('utf-8').splitlines()
  placed = []
  for key, _ in configs.flatten(configs.load_recipe(path)):
    said = _said(f'{key} is wrong', path)
    if said.endswith(')'):
      line = lines[int(said.rpartition(':')[2].rstrip(')')) - 1]
      leaf = key.rpartition('.')[2]
      assert f"'{leaf}':" in line or f'config.{key} =' in line
      placed.append(key)
  assert len(placed) > 50
  assert {'seed', 'mesh.frames', 'train.keep'} <= set(placed)
  assert 'require' not in placed  # a function of all recipes sets it
