"""Other devices: checkpoints come back to the bit, losses to 1e-6."""

import shutil

import harm
import numpy as np
import pytest

STEPS = 50
# Of eight samples a step, on one device, and in eight parts of each kind.
LAYOUTS = {'one': {}, 'data': {'data': 8}, 'fsdp': {'mesh': 8}}


def _knobs(**layout):
  return {'num_steps': STEPS, 'checkpoint_every': STEPS, 'batch': 8, **layout}


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
  """Workdirs of the same run on each layout, and their digests at the end."""
  home = tmp_path_factory.mktemp('layouts')
  process = harm.start_all(
    [(home / name, _knobs(**layout)) for name, layout in LAYOUTS.items()]
  )
  code, out, errors = harm.end(process)
  assert code == 0, errors
  ends = dict(zip(LAYOUTS, harm.said(out, 'ENDS'), strict=True))
  parts = {name: end.split()[1] for name, end in ends.items()}
  assert parts == {'one': '1/1', 'data': '1/8', 'fsdp': '8/8'}
  return home, ends


@pytest.mark.parametrize('layout', ['data', 'fsdp'])
def test_eight_devices_see_the_data_of_one_and_lose_alike(runs, layout, trial):
  home, _ = runs
  with trial('eight devices instead of one'):
    one, eight = home / 'one', home / layout
    assert harm.hashes(one) == harm.hashes(eight)
    assert len(set(harm.hashes(one))) == STEPS
    np.testing.assert_allclose(harm.losses(eight), harm.losses(one), rtol=1e-6)
    assert len(set(harm.losses(one))) == STEPS


def _go_on(runs, tmp_path, layouts):
  """Restores a run on other layouts; what it then holds, and the next loss."""
  workdirs = [tmp_path / str(number) for number in range(len(layouts))]
  for workdir in workdirs:
    shutil.copytree(runs, workdir)
  process = harm.start_all(
    [
      (workdir, _knobs(**layout) | {'num_steps': STEPS + 1})
      for workdir, layout in zip(workdirs, layouts, strict=True)
    ]
  )
  code, out, errors = harm.end(process)
  assert code == 0, errors
  assert harm.said(out, 'FROM') == len(layouts) * [str(STEPS)]
  return harm.said(out, 'HOLDS'), [harm.losses(x)[STEPS] for x in workdirs]


def test_what_eight_devices_saved_comes_back_on_any_number(
  runs, tmp_path, trial
):
  home, ends = runs
  layouts = [{'mesh': count} for count in (1, 2, 4, 8)] + [{'data': 8}]
  with trial('restored on another number of devices', len(layouts)):
    held, losses = _go_on(home / 'fsdp', tmp_path, layouts)
    want, _ = ends['fsdp'].split()
    parts = ['1/1', '2/2', '4/4', '8/8', '1/8']
    assert held == [f'{want} {x}' for x in parts]
    np.testing.assert_allclose(losses, losses[0], rtol=1e-6)


def test_what_one_device_saved_comes_back_on_eight(runs, tmp_path, trial):
  home, ends = runs
  layouts = [{'mesh': 8}, {'mesh': 1}]
  with trial('restored on another number of devices', len(layouts)):
    held, losses = _go_on(home / 'one', tmp_path, layouts)
    want, _ = ends['one'].split()
    assert held == [f'{want} 8/8', f'{want} 1/1']
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-6)


def test_eight_devices_wrote_eight_digests_of_a_matrix_and_one_wrote_one(runs):
  """The files do differ: what comes back is put together from other parts."""
  home, _ = runs
  counts = [
    len(harm.manifest(home / name, STEPS)['params/into']['sha256'])
    for name in ('fsdp', 'one')
  ]
  assert counts == [8, 1]
