"""Puts misprints and known traps back, one by one, and names what fails.

  python benchmarks/errata.py

Each row of ERRATA is a wrong form of one line of the package.  The package
and its tests are copied aside, the line is changed, and the tests of the
mathematics run.  A row that no test catches ends the script with status 1.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from typing import NamedTuple

ROOT = pathlib.Path(__file__).parents[1]


class Erratum(NamedTuple):
  """Where something is printed wrong, and how it would read in our code."""

  name: str
  file: str
  right: str
  wrong: str
  tests: tuple[str, ...]


def main() -> int:
  """Prints a markdown table; gives the number of rows that nothing caught."""
  print('| put back | in | tests that fail | the first of them |')
  print('|---|---|---|---|')
  missed = 0
  for erratum in ERRATA:
    failed = failures(erratum)
    missed += not failed
    first = failed[0].split('[')[0] if failed else 'nothing'
    print(
      f'| {erratum.name} | `{erratum.file}` | {len(failed)} | `{first}` |',
      flush=True,
    )
  return missed


def failures(erratum: Erratum) -> list[str]:
  """Names of the tests that fail with the wrong form in place."""
  with tempfile.TemporaryDirectory() as folder:
    copy = pathlib.Path(folder)
    for name in ('framebridge_jax', 'tests', 'configs'):
      shutil.copytree(ROOT / name, copy / name)
    shutil.copy(ROOT / 'pyproject.toml', copy)
    path = copy / 'framebridge_jax' / erratum.file
    source = path.read_text()
    if source.count(erratum.right) != 1:
      raise SystemExit(f'{erratum.file} does not hold once: {erratum.right}')
    path.write_text(source.replace(erratum.right, erratum.wrong))
    done = subprocess.run(
      [sys.executable, '-m', 'pytest', '-q', '-rf', '--tb=no', *erratum.tests],
      cwd=copy,
      capture_output=True,
      text=True,
      env={**os.environ, 'PYTHONPATH': folder},
      check=False,
    )
  if done.returncode > 1:
    raise SystemExit(done.stdout + done.stderr)
  return re.findall(r'^FAILED (\S+)', done.stdout, re.MULTILINE)


_MOTION = ('tests/processes/test_bridge.py', 'tests/processes/test_sde.py')
_SCHEDULES = ('tests/processes/test_schedules.py',)
_SCORE = ('tests/processes/test_score.py', 'tests/processes/test_bridge.py')
_SAF = ('tests/processes/test_saf.py', 'tests/processes/test_saf_teachers.py')
_STEPS = (
  'tests/samplers/test_samplers.py',
  'tests/samplers/test_identities.py',
  'tests/samplers/test_noise.py',
)

ERRATA = (
  Erratum(
    'FrameBridge Eq. 15: the sign of h',
    'processes/bridge.py',
    'return pull * (prior - r * zt)',
    'return -pull * (prior - r * zt)',
    _MOTION,
  ),
  Erratum(
    'FrameBridge Eq. 15: the factor alpha_T / alpha_t of h',
    'processes/bridge.py',
    'return pull * (prior - r * zt)',
    'return pull / r * (prior - r * zt)',
    _MOTION,
  ),
  Erratum(
    'FrameBridge Eq. 21: alpha_t / alpha_t for alpha_t / alpha_T',
    'processes/schedules.py',
    'b=jnp.where(moves, r * share, 1.0)',
    'b=jnp.where(moves, r**2 * share, 1.0)',
    _SCORE,
  ),
  Erratum(
    'FVDM Eq. 10: half the score in the reverse SDE',
    'processes/sde.py',
    'pull = process.h(zt, t, prior) - score(process, zt, t, x0_hat, prior)\n',
    'pull = process.h(zt, t, prior) - score(process, zt, t, x0_hat, prior) / 2'
    '\n',
    _MOTION,
  ),
  Erratum(
    'a geometric VE schedule with noise at t = 0',
    'processes/schedules.py',
    'return self.sigma_min**2 * jnp.expm1(self._rate * t)',
    'return self.sigma_min**2 * jnp.exp(self._rate * t)',
    _SCHEDULES,
  ),
  Erratum(
    'SAF: the coefficients of the clamped or interpolated time',
    'processes/saf.py',
    'alpha=jnp.where(silent, alpha, a / k),\n'
    '      sigma=jnp.where(silent, sigma, c / k),',
    'alpha=alpha,\n      sigma=sigma,',
    _SAF,
  ),
  Erratum(
    'SAF: FrameBridge Eq. 7 for teachers of any variance',
    'processes/saf.py',
    'norm2 = (a**2 + c**2) / (alpha**2 + sigma**2)',
    'norm2 = a**2 + c**2',
    _SAF,
  ),
  Erratum(
    'SAF: nothing in place of the noise at T',
    'processes/saf.py',
    'arrays.expand_like(sigma, zt) * noise,',
    'jnp.zeros_like(zt),',
    _SAF,
  ),
  Erratum(
    'the ends of the pinned step by arithmetic',
    'processes/schedules.py',
    'moves = s < t\n',
    'moves = s < t + 1\n',
    _SCHEDULES,
  ),
  Erratum(
    "DBIM's clock log(b / c) with our b",
    'samplers/centred.py',
    'a, _, c = process.marginal(t)\n  inside',
    '_, a, c = process.marginal(t)\n  inside',
    ('tests/samplers/test_golden.py',),
  ),
  Erratum(
    'no boot noise at T',
    'samplers/implicit.py',
    'boot = c_t == 0',
    'boot = c_t < 0',
    _STEPS,
  ),
  Erratum(
    'DDIM: eta scales the whole noise of s',
    'samplers/implicit.py',
    'fresh = jnp.where(boot, c, self.eta * c)',
    'fresh = jnp.where(boot, c, self.eta * process.marginal(s).c)',
    _STEPS,
  ),
  Erratum(
    'FVDM: progressive frames counted from 0',
    'tasks/plans.py',
    'np.arange(1, frames + 1)',
    'np.arange(frames)',
    ('tests/tasks/test_plans.py',),
  ),
)


if __name__ == '__main__':
  sys.exit(main())
