"""Documented commands parse, and tables of keys show every key.

Commands are parsed as the program would, by its own parser and config checks,
without running anything: a run in a documented workdir is faked from the
documented training command that makes it, and so are the weight files that
documented commands write.
"""

import ast
import contextlib
import functools
import pathlib
import re
import shlex

import pytest
from absl import flags
from ml_collections import config_flags

import pages
from framebridge_jax import build, check, main
from framebridge_jax.cli import configs, runs
from framebridge_jax.porting import table as porting

# Other files that show commands.  Launchers of clusters put theirs together,
# see test_launch.
TALKING = [
  path.relative_to(pages.ROOT)
  for pattern in (
    'launch/quickstart.sh',
    'configs/*.py',
    'framebridge_jax/recipes/*.py',
  )
  for path in sorted(pages.ROOT.glob(pattern))
]


def commands(text: str) -> list[list[str]]:
  """The arguments of each `python -m framebridge_jax.main` in a text.

  A bare mention of the program is no command.
  """
  joined = re.sub(r'\\\n\s*', ' ', text)
  found = re.findall(r'python -m framebridge_jax\.main\b([^\n`]*)', joined)
  return [
    [word for word in shlex.split(line, comments=True) if word != '$@']
    for line in found
    if line.strip()
  ]


@functools.cache
def documented() -> list[tuple[str, list[str]]]:
  """Every documented command with the file that shows it."""
  return [
    (str(path), words)
    for path in [*pages.PAGES, *TALKING]
    for words in commands(pages.said_in(path))
  ]


def merged(words: list[str], workdirs: pathlib.Path, trainings):
  """The config of a command, checked as the command line checks it.

  Args:
    words: of the command.
    workdirs: where runs are faked.
    trainings: commands that make runs, by their workdir.
  """
  options, rest = main._parse(words)
  workdir = workdirs / options.workdir
  alone = options.mode in configs.ALONE or _without_run(rest)
  alone = alone or (options.mode == 'plan' and options.config)
  if options.mode != 'train' and not alone:
    maker = trainings.get(str(options.workdir))
    assert maker, f'no documented command trains {options.workdir}'
    workdir.mkdir(parents=True, exist_ok=True)
    runs.save_config(workdir, merged(maker, workdirs, trainings))
  config = configs.for_mode(options.mode, options.config, workdir)
  values = flags.FlagValues()
  config_flags.DEFINE_config_dict(
    'config', config, '', flag_values=values, sys_argv=['main', *rest]
  )
  assert values(['main', *rest]) == ['main'], f'stray words in {rest}'
  if options.mode == 'train':
    check.check_train(config)
  else:
    check.check_mode(config, options.mode)
  if options.mode == 'port':
    assert config.checkpoint, 'nothing to port'
    assert config.back or config.model in porting.PORTS, config.model
  return config


def _without_run(words):
  """Whether a report or an evaluation needs no run: by what it is of."""
  return any(
    word.startswith(f'--config.{what}')
    for word in words
    for what in (
      'report=process',
      'report=compare',
      'videos=',
      'give=',
      'ladder=',
    )
  )


def trainings_of(found) -> dict[str, list[str]]:
  """Training commands by the workdir they make; the first of each counts."""
  made = {}
  for _, words in found:
    # A command that does not parse is the affair of its own test.
    with contextlib.suppress(SystemExit):
      options, _ = main._parse(words)
      if options.mode == 'train':
        made.setdefault(str(options.workdir), words)
  return made


def files_of(found) -> set[str]:
  """Weight files that commands write."""
  written = set()
  for _, words in found:
    with contextlib.suppress(SystemExit):
      options, rest = main._parse(words)
      given = dict(word.partition('=')[::2] for word in rest)
      if options.mode == 'export':
        written.add(given.get('--config.path', ''))
      elif options.mode == 'port':
        back = given.get('--config.back') == 'True'
        name = 'pytorch' if back else 'weights'
        written.add(f'{options.workdir}/{name}.safetensors')
  return written


@pytest.fixture
def in_root(monkeypatch):
  """Commands are given from the root, where all weights are at hand."""
  monkeypatch.chdir(pages.ROOT)
  files = build.WEIGHTS.keys() | files_of(documented())
  here = dict.fromkeys(files, pathlib.Path(__file__))
  monkeypatch.setattr(build, 'WEIGHTS', here)


def test_weights_with_a_short_name_are_in_the_package():
  assert not [str(path) for path in build.WEIGHTS.values() if not path.exists()]


def test_commands_are_found_in_every_kind_of_file():
  files = {file for file, _ in documented()}
  assert files >= {
    'README.md',
    'docs/training.md',
    'launch/quickstart.sh',
    'configs/quickstart.py',
    'framebridge_jax/recipes/sample.py',
  }


def test_every_recipe_is_on_the_page_of_training():
  page = pages.said_in(pathlib.Path('docs/training.md'))
  recipes = [path.name for path in pages.ROOT.glob('configs/*.py')]
  assert len(recipes) > 5
  assert not [name for name in recipes if f'`configs/{name}' not in page]


@pytest.mark.parametrize(
  ('file', 'words'),
  documented(),
  ids=[f'{file}-{i}' for i, (file, _) in enumerate(documented())],
)
def test_a_documented_command_parses(file, words, tmp_path, in_root):
  del file  # names the test
  merged(words, tmp_path, trainings_of(documented()))


TRAIN = '--config=configs/quickstart.py --workdir=runs/a'
PORT = '--mode=port --workdir=runs/b --config.checkpoint=a.pt'


@pytest.mark.parametrize(
  'line',
  [
    '--mode=trian ' + TRAIN,
    '--config=configs/quikstart.py --workdir=runs/a',
    '--config=configs/quickstart.py:bas=true --workdir=runs/a',
    '--config=configs/quickstart.py',
    TRAIN + ' --config.train.num_step=3',
    TRAIN + ' --config.train.num_steps=many',
    TRAIN + ' --config.train.num_steps=0',
    TRAIN + ' --config.dataset=folder',
    TRAIN + ' num_steps=3',
    '--mode=sample --workdir=runs/a --config.imag=photo.png',
    '--mode=sample --workdir=runs/a --config.sampler=dimb',
    '--mode=sample --workdir=runs/nobody_trains_it --config.image=a.png',
    '--mode=report --workdir=runs/nobody_trains_it',
    '--mode=report --config.report=proces --workdir=runs/nobody_trains_it',
    TRAIN + ' --config.process.schedule=vp:b3=1',
    '--mode=sample --workdir=runs/a --config.sampler=dbim:eta=2',
    TRAIN + ' --config.init_from=runs/nobody_ports_it/weights.safetensors',
    PORT,
    PORT + ' --config.model=latte_xxl2',
    PORT + ' --config.model=latte_xl2 --config.layout=fvmd',
    '--mode=port --workdir=runs/b --config.model=latte_xl2',
  ],
)
def test_a_wrong_command_is_found(line, tmp_path, in_root):
  (words,) = commands(f'`python -m framebridge_jax.main {line}`')
  made = {'runs/a': TRAIN.split()}
  with pytest.raises(
    (SystemExit, AssertionError, ValueError, AttributeError, flags.Error)
  ):
    merged(words, tmp_path, made)


def test_files_are_those_that_commands_write():
  lines = [
    PORT + ' --config.model=latte_xl2',
    PORT.replace('runs/b', 'runs/c') + ' --config.back=True',
    '--mode=export --workdir=runs/a --config.path=a.safetensors',
    TRAIN,
  ]
  assert files_of([('', line.split()) for line in lines]) == {
    'runs/b/weights.safetensors',
    'runs/c/pytorch.safetensors',
    'a.safetensors',
  }


def test_commands_are_read_whole():
  text = """`python -m framebridge_jax.main` is the program.  Run
`python -m framebridge_jax.main --mode=report` or

    X="a b" python -m framebridge_jax.main --mode=train \\
      --config.init_from='' "$@"  # and wait
  """
  assert commands(text) == [
    ['--mode=report'],
    ['--mode=train', '--config.init_from='],
  ]


KEYS = re.compile(r'<!-- keys of (.*?) -->\s*((?:\|.*\n)+)')


def wrong_rows(table: str, recipes: list[str]) -> list[str]:
  """Keys that are missing, unknown, or shown with another default.

  Column 1 is the key and a column for each recipe follows; an empty cell
  repeats the one before.
  """
  rows = {}
  for line in table.strip().splitlines()[2:]:
    cells = re.split(r'(?<!\\)\|', line)[1:-1]  # a bar in a cell has a \ before
    key, *cells = (cell.strip().replace('\\|', '|') for cell in cells)
    values = [_shown(cell) for cell in cells[: len(recipes)]]
    for i, value in enumerate(values):
      values[i] = values[i - 1] if value is _SAME else value
    rows[key.strip('`')] = values
  truth = [dict(configs.flatten(configs.load_recipe(x))) for x in recipes]
  keys = set(rows) | {key for config in truth for key in config}
  return sorted(
    key
    for key in keys
    if [repr(x) for x in rows.get(key, ())]
    != [repr(config.get(key, _SAME)) for config in truth]
  )


_SAME = object()


def _shown(cell):
  return ast.literal_eval(cell.strip('`')) if cell else _SAME


def _tables():
  return [
    (str(page), recipes.split(' and '), table)
    for page in pages.PAGES
    for recipes, table in KEYS.findall(pages.said_in(page))
  ]


@pytest.mark.parametrize(
  ('page', 'recipes', 'table'),
  _tables(),
  ids=[f'{page}-{recipes[0]}' for page, recipes, _ in _tables()],
)
def test_table_shows_every_key_and_its_default(page, recipes, table, in_root):
  assert not wrong_rows(table, recipes), page


def test_every_mode_and_the_quickstart_have_a_table():
  shown = {recipe for _, recipes, _ in _tables() for recipe in recipes}
  modes = {
    f'framebridge_jax/recipes/{mode}.py'
    for mode in main.MODES
    if mode != 'train'
  }
  assert shown >= modes | {'configs/quickstart.py'}


def test_a_wrong_table_is_found(in_root):
  recipe = ['framebridge_jax/recipes/export.py']
  head = '| key | default | meaning |\n|---|---|---|\n'
  path = "| `path` | `''` | a |\n| `ema` | `0.0` | a |\n"
  right = "| `export_dtype` | `'bfloat16'` | a |\n"
  assert wrong_rows(head + path + right, recipe) == []
  assert wrong_rows(head + path, recipe) == ['export_dtype']
  other = right.replace('bfloat16', 'float32')
  assert wrong_rows(head + path + other, recipe) == ['export_dtype']
  assert wrong_rows(head + path + right + '| `no` | `1` | a |\n', recipe) == [
    'no'
  ]
