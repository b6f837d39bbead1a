"""python -m framebridge_jax.main --mode=... --config=... --workdir=...

Finds the config that the mode wants, runs the mode, and turns errors meant for
users into one sentence and an exit code: 2 config or input, 3 no checkpoint,
4 numerics.
"""

import argparse
import importlib
import logging as stdlib_logging
import pathlib
import sys
import traceback

from absl import app, flags, logging
from etils import epath
from ml_collections import config_flags

from framebridge_jax import check, files
from framebridge_jax.cli import configs, places

MODES = {
  'train': 'train a model, or resume its training',
  'sample': 'animate an image',
  'evaluate': 'score a run on held-out clips',
  'report': 'write the report of a run',
  'port': 'port a checkpoint of another project',
  'data': 'prepare a data set, and look at what is in it',
  'encode': 'encode a data set into a cache of latents',
  'embed': 'embed captions with a ported text encoder',
  'export': 'write the averaged weights of a run as one file',
  'plan': 'tell memory, exchanges and time of a training before it runs',
  'doctor': 'look at this machine, and at what would fail on it',
}
EXIT_INPUT = 2  # other codes are attributes of the errors they belong to

_TALKATIVE = ('orbax', 'tensorflow_datasets')
_PACKAGE = pathlib.Path(__file__).parent


def main() -> None:
  """The command line."""
  options, rest = _parse(sys.argv[1:])
  try:
    files.connect(options.workdir)
    config = configs.for_mode(options.mode, options.config, options.workdir)
    argv = _parse_overrides([sys.argv[0], *rest], config)
  except ValueError as error:
    _stop(error, EXIT_INPUT)
  _set_up_logging()
  app.run(
    lambda _: _run(options, rest), argv=argv, flags_parser=lambda args: args
  )


def _parse(argv):
  parser = argparse.ArgumentParser(
    prog='python -m framebridge_jax.main',
    description='Turn images into videos with frame-aware diffusion bridges.',
    epilog='modes: '
    + '; '.join(f'{name}: {what}' for name, what in MODES.items())
    + '. Every key of a config can be set: --config.key=value.',
    allow_abbrev=False,
  )
  parser.add_argument('--mode', choices=MODES, default='train')
  parser.add_argument(
    '--config', help='file.py or file.py:arguments; only train needs one'
  )
  parser.add_argument(
    '--workdir', type=epath.Path, required=True, help='folder of the run'
  )
  return parser.parse_known_args(argv)


def _parse_overrides(argv, config):
  """Applies --config.key=value.

  Raises:
    ValueError: a key is unknown or a value is not of its key's type.
  """
  try:
    config_flags.DEFINE_config_dict(
      'config', config, 'the merged config', sys_argv=argv
    )
    left = flags.FLAGS(argv)
  except (AttributeError, KeyError):
    raise ValueError(configs.explain_unknown(argv, config)) from None
  except flags.Error as error:
    raise ValueError(str(error)) from None
  if len(left) > 1:
    raise ValueError(f'unexpected arguments: {" ".join(left[1:])}')
  return left


def _set_up_logging():
  """Our own words from INFO on, those of Orbax and TFDS from WARNING on."""
  logging.set_verbosity(logging.INFO)
  logging.set_stderrthreshold(logging.INFO)
  logging.get_absl_handler().addFilter(
    lambda record: (
      record.levelno >= stdlib_logging.WARNING
      or not any(name in record.pathname for name in _TALKATIVE)
    )
  )


def _run(options, overrides):
  config = flags.FLAGS.config
  try:
    mode = importlib.import_module(f'framebridge_jax.cli.{options.mode}')
    mode.run(config, options.workdir)
  except check.ConfigError as error:
    said = [
      places.located(x, recipe=options.config, argv=overrides, config=config)
      for x in error.problems
    ]
    _stop(error, EXIT_INPUT, '; '.join(said))
  except ValueError as error:
    _stop(error, getattr(error, 'exit_code', EXIT_INPUT))


def _stop(error, code, sentence=None):
  """Ends with the sentence, or with the traceback of a bug."""
  raised_in = pathlib.Path(traceback.extract_tb(error.__traceback__)[-1][0])
  if not raised_in.is_relative_to(_PACKAGE):
    raise error
  print(f'error: {sentence or error.args[0]}', file=sys.stderr)
  raise SystemExit(code)


if __name__ == '__main__':
  main()
