"""The report of the processes: pictures of the mathematics, without a run."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import ml_collections
import numpy as np
from absl import logging
from etils import epath

from framebridge_jax import arguments, build, files, version
from framebridge_jax.cli import runs
from framebridge_jax.processes import bridge, schedules, table
from framebridge_jax.report import page, process_plots
from framebridge_jax.samplers import grids
from framebridge_jax.tasks import plans


class Plot(NamedTuple):
  """A picture of the page; its name is its file's, too."""

  heading: str
  text: str
  draw: Callable[[], str]


def write(config: ml_collections.ConfigDict, workdir: epath.PathLike) -> None:
  """Writes `process.html` and the single pictures, `process/*.svg`."""
  workdir = epath.Path(workdir)
  folder = runs.make_workdir(workdir / 'process')
  sections = []
  for name, plot in PLOTS.items():
    logging.info('Drawing %s', name)
    picture = plot.draw()
    _write(folder / f'{name}.svg', picture + '\n')
    body = f'<div class="sheet" tabindex="0">\n{picture}\n</div>'
    sections.append(
      page.section(plot.heading, page.paragraph(plot.text) + '\n' + body)
    )
  sections.append(page.section('What was drawn', page.facts(_facts(), _rows())))
  title = config.title or 'framebridge_jax: the mathematics in pictures'
  _write(workdir / 'process.html', page.render(title, _SUMMARY, sections))
  logging.info('Wrote %s and %s', workdir / 'process.html', folder)


def schedule_of(text: str) -> schedules.Schedule:
  """A row of SCHEDULES with the options that the text gives."""
  return build.make_row(text, table.SCHEDULES)


def time_plans() -> dict[str, process_plots.Times]:
  """Share of T of every frame at every step, for each row of TASKS."""
  process = bridge.Bridge(schedule=schedule_of(_BRIDGE))
  grid = grids.GRIDS[_GRID](process, _STEPS)
  times = {}
  for name, task in plans.TASKS.items():
    plan = task(_STEPS, _FRAMES, **_OPTIONS.get(name, {}))
    rows = plans.time_plan(plan, grid, batch=1, pad_to=_STEPS)
    times[name] = rows[:, 0].astype(np.float64) / process.schedule.T
  return times


def _draw_schedules():
  return process_plots.draw_schedules(
    {name: schedule_of(name) for name in table.SCHEDULES}
  )


def _draw_marginals():
  return process_plots.draw_marginals(
    {name: bridge.Bridge(schedule=schedule_of(name)) for name in _BRIDGES}
  )


def _draw_alignment():
  return process_plots.draw_alignment(
    bridge.Bridge(schedule=schedule_of(_BRIDGE)),
    {name: schedule_of(name) for name in _TEACHERS},
  )


def _draw_time_plans():
  return process_plots.draw_time_plans(time_plans())


def _facts() -> Mapping[str, str]:
  return {
    'Command': 'python -m framebridge_jax.main --mode=report '
    '--config.report=process --workdir=...',
    'Time plans': f'{_FRAMES} frames, {_STEPS} steps, grid {_GRID}',
    'Versions': f'framebridge_jax {version.__version__}, jax {jax.__version__}',
  }


def _rows():
  """Schedules and tasks with the numbers they were drawn with."""
  rows = [f'{name}: {schedule_of(name)}' for name in table.SCHEDULES]
  for name, task in plans.TASKS.items():
    options = arguments.options_of(task) | _OPTIONS.get(name, {})
    if options:
      words = ', '.join(f'{key}={value}' for key, value in options.items())
      rows.append(f'{name}: {words}')
  return rows


def _write(path, text):
  with files.replacing(path) as part:
    part.write_text(text, 'utf-8')


_BRIDGE = 'bridge_gmax'
_BRIDGES = ('bridge_gmax', 'bridge_gconst', 'vp', 've', 'edm')
_TEACHERS = (
  'vp',
  'edm',
  'flow',
  'table_linear',
  'table_scaled_linear:snr_shift=3,zero_terminal=true',
)
_GRID, _FRAMES, _STEPS = 'uniform', 16, 20
_OPTIONS = {'keyframes': {'known': '0 5 10 15'}}
_SUMMARY = (
  'Noise schedules, bridges between a prior and a video, the time at which a '
  'pretrained teacher is asked, and where each frame stands at each step of a '
  'task. Every curve is computed by the functions that training and sampling '
  'call.'
)
PLOTS = {
  'schedules': Plot(
    'Schedules',
    'How much signal and noise a frame holds: z_t = alpha z0 + sigma eps, and '
    'SNR = alpha^2 / sigma^2. All panels of a row share one axis. A curve that '
    'leaves its panel goes on to 0 or infinity: at t = 0 there is no noise, '
    'and where alpha reaches 0 at T there is no signal.',
    _draw_schedules,
  ),
  'bridge_marginal': Plot(
    'The marginal of a bridge',
    'z_t = a z0 + b zT + c eps between the video z0 at t = 0 and the prior zT '
    'at t = T (FrameBridge Eq. 12). c vanishes at both ends.',
    _draw_marginals,
  ),
  'saf_alignment': Plot(
    'SNR alignment',
    f'Where a teacher meets the bridge over {_BRIDGE}: the time t~ at which '
    'its SNR is a^2 / c^2, and the amplitude k that the latent without its '
    'prior is divided by (FrameBridge Eq. 7). Tables are looked up between '
    'their entries, linear in SNR (FrameBridge D.3.1) or in alpha / sigma (its '
    'public code): the last row shows by how many entries the two times '
    'differ, at most, from one entry to the next.',
    _draw_alignment,
  ),
  'time_plans': Plot(
    'Time plans',
    f'Each task is a plan of per-frame times; here {_FRAMES} frames in '
    f'{_STEPS} steps. Triangles mark known frames, which stand at t = 0 '
    'throughout.',
    _draw_time_plans,
  ),
}
