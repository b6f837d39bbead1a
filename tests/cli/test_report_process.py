"""`--config.report=process` through the real command line, without a run."""

import pathlib
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

import commands as cli
from framebridge_jax import check
from framebridge_jax.cli import configs, report, report_process
from framebridge_jax.processes import table
from framebridge_jax.tasks import plans

NAMES = ('schedules', 'bridge_marginal', 'saf_alignment', 'time_plans')
IMAGES = cli.ROOT / 'docs' / 'images'


@pytest.fixture(scope='module')
def drawn(tmp_path_factory):
  """A workdir that did not exist before the report was written."""
  workdir = tmp_path_factory.mktemp('report') / 'neue bilder'
  done = cli.call('report', workdir, report='process', title='A <b> & c')
  assert done.returncode == 0, done.stderr
  return workdir


def test_page_and_pictures_are_written_and_nothing_else(drawn):
  files = {str(p.relative_to(drawn)) for p in drawn.rglob('*') if p.is_file()}
  assert files == {'process.html'} | {f'process/{name}.svg' for name in NAMES}


def test_page_holds_the_pictures_and_fetches_nothing(drawn):
  source = (drawn / 'process.html').read_text()
  for name in NAMES:
    assert (drawn / 'process' / f'{name}.svg').read_text().strip() in source
  source = source.replace('xmlns="http://www.w3.org/2000/svg"', '')
  for word in ('http:', 'https:', 'url(', 'href', 'src=', '<script', '<link'):
    assert word not in source
  assert "default-src 'none'" in source
  assert 'prefers-color-scheme: dark' in source


def test_page_is_well_formed_and_titled(drawn):
  source = (drawn / 'process.html').read_text()
  closed = re.sub(r'<(meta[^>]*)>', r'<\1/>', source)
  root = ElementTree.fromstring(closed.removeprefix('<!doctype html>'))
  assert [h.text for h in root.iter('h1')] == ['A <b> & c']
  assert len(list(root.findall('.//{*}svg'))) == len(NAMES)


def test_every_schedule_and_task_is_drawn(drawn):
  def found(name, key):
    root = ElementTree.parse(drawn / 'process' / f'{name}.svg').getroot()
    names = (group.get(key) for group in root.findall('.//{*}g'))
    return list(dict.fromkeys(name for name in names if name))

  assert found('schedules', 'data-column') == list(table.SCHEDULES)
  assert found('time_plans', 'data-map') == list(plans.TASKS)
  assert found('bridge_marginal', 'data-column') == [
    *('bridge_gmax', 'bridge_gconst', 'vp', 've', 'edm')
  ]
  assert found('saf_alignment', 'data-column') == [
    *('vp', 'edm', 'flow', 'table_linear'),
    'table_scaled_linear:snr_shift=3,zero_terminal=true',
  ]


@pytest.mark.parametrize('name', NAMES)
def test_pictures_of_the_documentation_are_those_that_are_drawn(drawn, name):
  """But for the last digits, which are the machine's.

  Where this fails after a change, draw them anew with `--mode=report
  --config.report=process`.
  """
  number = r'\d+(?:\.\d+)?'
  here = (drawn / 'process' / f'{name}.svg').read_text()
  there = (IMAGES / f'{name}.svg').read_text()
  assert re.sub(number, '', here) == re.sub(number, '', there)
  ours, theirs = (
    [float(x) for x in re.findall(number, text)] for text in (here, there)
  )
  np.testing.assert_allclose(ours, theirs, atol=0.3)


def test_plans_of_tasks_know_their_frames():
  times = report_process.time_plans()
  assert set(times) == set(plans.TASKS)
  ends, early = [0, 15], [0, 1, 2, 3]
  known = {
    'i2v': [0],
    'interpolate': ends,
    'keyframes': [0, 5, 10, 15],
    'extend': early,
    'transition': [0, 1, 14, 15],
    'next_frame': list(range(15)),
    'loop': ends,
    'inpaint_time': [*range(4), *range(12, 16)],
  }
  for name, time in times.items():
    assert time.shape == (21, 16)
    still = np.flatnonzero((time == 0).all(axis=0)).tolist()
    assert still == known.get(name, []), name
  # Between T and 0 all unknown frames of a plain task fall in equal steps.
  fall = 1 - np.arange(21) / 20
  np.testing.assert_allclose(times['interpolate'][:, 7], fall, atol=1e-6)


def test_unknown_report_is_refused_with_the_known(tmp_path):
  done = cli.call('report', tmp_path, report='proces')
  assert done.returncode == 2
  assert 'Traceback' not in done.stderr
  (said,) = [x for x in done.stderr.splitlines() if x.startswith('error: ')]
  for word in ('report', 'proces', 'run, process'):
    assert word in said
  assert not list(tmp_path.iterdir())


def test_report_of_a_run_needs_a_run(tmp_path):
  done = cli.call('report', tmp_path)
  assert done.returncode == 2
  assert 'Traceback' not in done.stderr
  (said,) = [x for x in done.stderr.splitlines() if x.startswith('error: ')]
  assert f'{tmp_path} holds no run (no config.json); train first' in said


@pytest.mark.parametrize('mode', ['sample', 'export'])
def test_other_modes_want_a_run_before_anything_else(mode, tmp_path):
  with pytest.raises(ValueError, match='holds no run'):
    configs.for_mode(mode, None, tmp_path)


def test_every_report_passes_the_check_and_has_a_writer():
  for name in report.REPORTS:
    config = configs.for_mode('report', None, pathlib.Path('nowhere'))
    with config.unlocked():
      config.report = name
    check.check_mode(config, 'report')
  with pytest.raises(ValueError, match=', '.join(report.REPORTS)):
    config.report = ''
    check.check_mode(config, 'report')
