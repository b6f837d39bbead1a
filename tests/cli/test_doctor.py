"""The doctor's card: what it measures, what it finds, and when it stops."""

import itertools
import shutil
import types

import ml_collections
import pytest

import commands as cli
from framebridge_jax.cli import devices, doctor
from framebridge_jax.recipes import doctor as recipe


def _printed(capsys, workdir, **changes):
  config = ml_collections.ConfigDict(recipe.get_config())
  config.update({'seconds': 0.0, **changes})
  doctor.run(config, workdir)
  return capsys.readouterr().out


def _machine(monkeypatch, *, backend='cpu', platforms=None, files=(), has=()):
  """A machine whose JAX, device files and packages are as given."""

  def start():
    if isinstance(backend, Exception):
      raise backend
    return backend

  fake = types.SimpleNamespace(
    config=types.SimpleNamespace(values={'jax_platforms': platforms}),
    default_backend=start,
  )
  distributions = [
    types.SimpleNamespace(metadata={'Name': name}) for name in has
  ]
  monkeypatch.setattr(devices, 'jax', fake)
  monkeypatch.setattr(devices.runs, 'device_name', lambda: '2 x toy')
  monkeypatch.setattr(devices.shutil, 'which', lambda program: None)
  monkeypatch.setattr(
    devices.glob, 'glob', lambda at: [x for x in files if x[:8] == at[:8]]
  )
  monkeypatch.setattr(
    devices.importlib.metadata, 'distributions', lambda: distributions
  )


def test_the_card_of_this_machine_is_aligned_and_whole(tmp_path, capsys):
  card = _printed(capsys, tmp_path)
  titles = [x for x in card.splitlines() if x and x[0] != ' ']
  assert titles[:-1] == [
    'devices',
    'versions',
    'disk',
    'compilation cache',
    'precision',
    'matrix products',
    'memory',
    'video',
    'optional packages',
  ]
  rows = [x for x in card.splitlines() if x[:2] == '  ' and x[2] != '-']
  names = {x[2:].split('  ')[0] for x in rows}
  assert names >= {'backend', 'jaxlib', 'workdir', 'float32', 'host'}
  assert (
    len({len(x) - len(x[2:].split('  ', 1)[1].lstrip()) for x in rows}) == 1
  )
  assert '4 x cpu' in card


def test_the_card_ends_with_all_problems_or_with_the_word_that_there_are_none():
  well = doctor.Part('a', [('long name', '1'), ('b', '2')])
  assert doctor.card([well]).splitlines() == [
    'a',
    '  long name  1',
    '  b          2',
    '',
    'nothing found that would fail',
  ]
  ill = [doctor.Part(x, [(x, x)], [f'{x} is ill']) for x in 'cd']
  end = doctor.card([ill[0], well, ill[1]]).splitlines()[-3:]
  assert end == ['what would fail', '  - c is ill', '  - d is ill']


def test_what_is_there_is_accepted_and_what_is_not_stops_with_code_2():
  devices.require('')
  devices.require('cpu')
  with pytest.raises(devices.DeviceError, match="'gpu' and JAX sees only 4 x "):
    devices.require('gpu')
  assert devices.DeviceError.exit_code == 2
  with pytest.raises(devices.DeviceError, match="'cuda', want one of cpu, gpu"):
    devices.require('cuda')


@pytest.mark.parametrize(
  ('error', 'words'),
  [
    (RuntimeError('no\nbackend  here'), 'no backend here'),
    (AssertionError(), 'no device of JAX_PLATFORMS=cuda'),
  ],
  ids=repr,
)
def test_nothing_is_started_when_anything_will_do(error, words, monkeypatch):
  _machine(monkeypatch, backend=error, platforms='cuda')
  devices.require('')
  with pytest.raises(devices.DeviceError, match=f'JAX cannot start: {words}'):
    devices.require('gpu')


@pytest.mark.parametrize('backend', devices.KINDS)
@pytest.mark.parametrize('kind', devices.KINDS)
def test_only_the_kind_that_was_asked_for_passes(kind, backend, monkeypatch):
  _machine(monkeypatch, backend=backend)
  if kind == backend:
    devices.require(kind)
    return
  with pytest.raises(devices.DeviceError, match='sees only 2 x toy'):
    devices.require(kind)


GPU = '/dev/nvidia0'


@pytest.mark.parametrize(
  ('kind', 'machine', 'reason'),
  [
    ('gpu', {'platforms': 'cpu', 'files': [GPU]}, "JAX_PLATFORMS is 'cpu'"),
    ('gpu', {'files': [GPU]}, r"pip install 'framebridge_jax\[gpu\]'"),
    ('tpu', {'has': ['jax-cuda13-plugin']}, r"'framebridge_jax\[tpu\]'"),
    ('gpu', {'has': ['jax-cuda13-plugin']}, 'no gpu is visible here'),
    ('tpu', {'has': ['libtpu'], 'files': [GPU]}, 'no tpu is visible here'),
    (
      'gpu',
      {'platforms': 'cuda,cpu', 'has': ['jax-cuda13-plugin'], 'files': [GPU]},
      'read the warnings of JAX above',
    ),
    ('cpu', {'backend': 'gpu'}, 'set JAX_PLATFORMS=cpu'),
    ('cpu', {'backend': 'gpu', 'platforms': 'cuda'}, "is 'cuda', so leave it"),
  ],
  ids=str,
)
def test_the_reason_is_named_with_what_helps(
  kind, machine, reason, monkeypatch
):
  _machine(monkeypatch, **machine)
  with pytest.raises(devices.DeviceError, match=reason):
    devices.require(kind)


def test_packages_are_looked_for_among_the_installed():
  assert devices._installed(('no-such', 'jaxl'))
  assert not devices._installed(('no-such',))


def test_a_device_that_jax_does_not_see_is_a_problem(monkeypatch):
  _machine(monkeypatch, files=[GPU])
  monkeypatch.setattr(doctor.jax, 'process_count', lambda: 1)
  (problem,) = doctor._devices().problems
  assert problem.startswith(f'JAX sees only the CPU, though {GPU} says')
  assert 'framebridge_jax[gpu]' in problem
  _machine(monkeypatch, files=[GPU], backend='gpu')
  assert not doctor._devices().problems


def test_the_rate_is_two_n_cubed_over_the_median_time(monkeypatch):
  """By a clock on which the products take 1, 9 and 2 seconds."""
  moments = itertools.chain.from_iterable((0.0, x) for x in (1.0, 9.0, 2.0))
  clock = types.SimpleNamespace(perf_counter=lambda: next(moments))
  monkeypatch.setattr(devices, 'time', clock)
  rate, side = devices.matmul_rate('float32', seconds=12.0)
  assert rate == pytest.approx(2 * side**3 / 2.0 / 1e9)
  assert next(moments, None) is None


def test_products_are_repeated_until_the_time_is_up(monkeypatch):
  moments = itertools.chain.from_iterable((0.0, 0.5) for _ in range(100))
  clock = types.SimpleNamespace(perf_counter=lambda: next(moments))
  monkeypatch.setattr(devices, 'time', clock)
  devices.matmul_rate('float32', seconds=4.9)
  assert len(list(moments)) == 2 * (100 - 10)


def test_bfloat16_is_off_by_its_rounding_and_float32_is_not():
  """8 bits: 2^-7 / sqrt(12) of a number between 1 and 2, rms."""
  assert 0.001 < devices.matmul_error('bfloat16') < 0.003
  assert devices.matmul_error('float32') < 1e-6


@pytest.mark.parametrize('off', [float('nan'), float('inf'), 0.5])
def test_a_bfloat16_that_computes_nonsense_is_a_problem(off, monkeypatch):
  assert not doctor._precision().problems
  monkeypatch.setattr(devices, 'matmul_error', lambda dtype: off)
  (problem,) = doctor._precision().problems
  assert '--config.dtype=float32' in problem


def test_looking_makes_no_folder(tmp_path, capsys):
  assert 'not there yet, can be made' in _printed(capsys, tmp_path / 'a' / 'b')
  assert not list(tmp_path.iterdir())


def test_a_workdir_below_a_file_is_a_problem(tmp_path, capsys):
  (tmp_path / 'file').write_text('')
  card = _printed(capsys, tmp_path / 'file' / 'run')
  (problem,) = [x for x in card.splitlines() if x.startswith('  - workdir')]
  for word in (f'{tmp_path}/file/run', 'Not a directory', '--workdir'):
    assert word in problem
  assert 'not writable' in card


def test_little_disk_and_little_shared_memory_are_problems(
  tmp_path, monkeypatch
):
  assert not doctor._folder('workdir', tmp_path, '--workdir')[1]
  usage = types.SimpleNamespace(free=0.2e9)
  monkeypatch.setattr(shutil, 'disk_usage', lambda path: usage)
  first, *others = doctor._workdir(tmp_path).problems
  assert f'{tmp_path} has 0.2 GB of disk left' in first
  assert all('data.num_workers=0' in problem for problem in others)
  assert len(others) == doctor.pathlib.Path('/dev/shm').is_dir()


def test_the_compilation_cache_is_looked_at_where_it_is_set(tmp_path):
  assert 'none; JAX_COMPILATION_CACHE_DIR' in str(doctor._cache(None).rows)
  well = doctor._cache(str(tmp_path))
  assert 'writable' in well.rows[0][1]
  assert not well.problems
  (tmp_path / 'file').write_text('')
  (problem,) = doctor._cache(str(tmp_path / 'file' / 'cache')).problems
  assert 'JAX_COMPILATION_CACHE_DIR' in problem
  assert 'not looked at' in str(doctor._cache('gs://bucket/cache').rows)


def test_a_pyav_without_an_encoder_is_a_problem(monkeypatch):
  assert not doctor._video().problems

  def refuse(name, mode):
    raise doctor.av.codec.codec.UnknownCodecError(name)

  monkeypatch.setattr(doctor.av, 'Codec', refuse)
  (problem,) = doctor._video().problems
  assert 'no H.264 encoder' in problem


def test_packages_that_are_missing_are_named(monkeypatch):
  assert not doctor._versions().problems
  monkeypatch.setattr(doctor, 'PACKAGES', ('jax', 'no-such-package'))
  (problem,) = doctor._versions().problems
  assert 'no-such-package is not installed' in problem


def test_wandb_is_a_problem_only_where_it_is_asked_for_and_missing(monkeypatch):
  monkeypatch.setattr(doctor, 'OPTIONAL', {'no_such_module': 'nothing'})
  assert 'missing; for nothing' in str(doctor._optional('').rows)
  for found, asked, problems in (
    (None, 'mine', 1),
    (None, '', 0),
    ('spec', 'mine', 0),
  ):
    monkeypatch.setattr(
      doctor.importlib.util, 'find_spec', lambda name, found=found: found
    )
    assert len(doctor._optional(asked).problems) == problems


def test_the_program_prints_a_card_without_a_run_and_stops_without_a_gpu(
  tmp_path,
):
  done = cli.call('doctor', tmp_path / 'new', seconds=0.1)
  assert done.returncode == 0, done.stderr
  assert done.stdout.startswith('devices\n  backend ')
  assert not list(tmp_path.iterdir())
  done = cli.call('doctor', tmp_path / 'new', require='gpu')
  assert done.returncode == 2
  (sentence,) = [x for x in done.stderr.splitlines() if x.startswith('error: ')]
  assert "require is 'gpu' and JAX sees only 1 x cpu" in sentence
  assert not done.stdout
