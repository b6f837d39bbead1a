"""Other devices: checkpoints come back to the bit, losses to 1e-6."""

import json
import shutil

import harm
import numpy as np
import pytest

STEPS = 50
# A Latte on one, two, four and eight devices: along each axis, and mixtures.
# XLA once gave data x frames a wrong gradient of the last layer.
MESHES = {
  'data 2, frames 4': {'data': 2, 'frames': 4},
  'fsdp 2, tensor 2, frames 2': {'mesh': 2, 'tensor': 2, 'frames': 2},
}
MORE_MESHES = {
  'data 2': {'data': 2},
  'fsdp 2': {'mesh': 2},
  'tensor 2': {'tensor': 2},
  'frames 2': {'frames': 2},
  'frames 4': {'frames': 4},
  'data 2, fsdp 2': {'data': 2, 'mesh': 2},
  'tensor 2, frames 2': {'tensor': 2, 'frames': 2},
  'data 8': {'data': 8},
  'fsdp 8': {'mesh': 8},
  'data 4, tensor 2': {'data': 4, 'tensor': 2},
  'fsdp 2, frames 4': {'mesh': 2, 'frames': 4},
  'data 2, fsdp 2, frames 2': {'data': 2, 'mesh': 2, 'frames': 2},
}
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


def train_lattes(home, meshes):
  """Runs of one Latte on one device and on meshes, by their names."""
  found = {'one': {}, **meshes}
  process = harm.start_all(
    [(home / name, _knobs(latte=True, **x)) for name, x in found.items()]
  )
  code, out, errors = harm.end(process)
  assert code == 0, errors
  return home, dict(zip(found, harm.said(out, 'ENDS'), strict=True))


def _grad_norms(workdir):
  lines = map(json.loads, harm.log(workdir).splitlines())
  return [line['grad_norm'] for line in lines]


def _assert_as_one(home, name):
  one, many = home / 'one', home / name
  assert harm.hashes(one) == harm.hashes(many)
  assert len(set(harm.losses(one))) == STEPS
  np.testing.assert_allclose(harm.losses(many), harm.losses(one), rtol=1e-6)
  np.testing.assert_allclose(_grad_norms(many), _grad_norms(one), rtol=2e-6)


@pytest.fixture(scope='module')
def lattes(tmp_path_factory):
  return train_lattes(tmp_path_factory.mktemp('lattes'), MESHES)


@pytest.mark.parametrize('name', MESHES)
def test_a_latte_on_a_mesh_takes_the_steps_of_one_device(lattes, name, trial):
  home, _ = lattes
  with trial('a mesh of several axes instead of one device'):
    _assert_as_one(home, name)


@pytest.mark.slow
def test_a_latte_on_any_mesh_takes_the_steps_of_one_device(
  tmp_path, trial, monkeypatch
):
  monkeypatch.setattr(harm, 'TIMEOUT', 1200)
  with trial('a mesh of several axes instead of one device', len(MORE_MESHES)):
    home, _ = train_lattes(tmp_path, MORE_MESHES)
    for name in MORE_MESHES:
      _assert_as_one(home, name)


def test_what_a_mesh_of_eight_saved_comes_back_on_one_device_and_on_2_x_4(
  lattes, tmp_path, trial
):
  home, ends = lattes
  saved = 'fsdp 2, tensor 2, frames 2'
  layouts = [{}, {'data': 2, 'mesh': 4}, {'mesh': 2, 'tensor': 4}]
  workdirs = [tmp_path / str(number) for number in range(len(layouts))]
  with trial('restored on another number of devices', len(layouts)):
    for workdir in workdirs:
      shutil.copytree(home / saved, workdir)
    code, out, errors = harm.end(
      harm.start_all(
        [
          (workdir, _knobs(latte=True, **layout))
          for workdir, layout in zip(workdirs, layouts, strict=True)
        ]
      )
    )
    assert code == 0, errors
    held = [x.split()[0] for x in harm.said(out, 'HOLDS')]
    assert held == len(layouts) * [ends[saved].split()[0]]


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
