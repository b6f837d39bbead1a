"""What cannot be scored ends in one sentence, and never in a number."""

import shutil

import evaluations
import pytest
from etils import epath

from framebridge_jax import check
from framebridge_jax.evaluation.adapters import extras


def _refused(tmp_path, words, **changes):
  with pytest.raises(ValueError, match=words) as caught:
    evaluations.run(tmp_path / 'work', **{**evaluations.SMALL, **changes})
  assert not list(tmp_path.glob('work/evaluation*/result.json'))
  assert not (tmp_path / 'work' / 'results.jsonl').exists()
  return caught.value


@pytest.fixture(scope='module')
def real_cache(tmp_path_factory):
  return tmp_path_factory.mktemp('real')


@pytest.fixture(scope='module')
def judge(tmp_path_factory):
  return evaluations.reader(tmp_path_factory.mktemp('judge') / 'j.safetensors')


def test_unknown_protocols_and_metrics_list_the_known(tmp_path):
  for key, value, known in (
    ('protocol', 'ucf', 'ucf101_zero_shot'),
    ('metrics', ('fvdd',), 'cd_fvd'),
  ):
    error = _refused(tmp_path, known, **{key: value})
    assert isinstance(error, check.ConfigError)


def test_a_workdir_without_a_run_is_refused(tmp_path):
  _refused(tmp_path, 'holds no run')
  _refused(tmp_path, 'holds no run', protocol='')


def test_videos_want_a_protocol(tmp_path):
  folder = evaluations.films(tmp_path / 'v', 2)
  _refused(
    tmp_path, 'protocol is empty; name one of', protocol='', videos=folder
  )


def test_folders_without_videos_are_refused(tmp_path):
  _refused(tmp_path, 'no folder of videos', videos=tmp_path / 'nowhere')
  empty = tmp_path / 'empty'
  empty.mkdir()
  (empty / 'notes.txt').write_text('none')
  _refused(tmp_path, 'holds no video; read are .mp4', videos=empty)


def test_mixed_sizes_are_refused(tmp_path):
  folder = evaluations.films(tmp_path / 'v', 3)
  evaluations.film(folder / '9.mp4', side=48)
  _refused(tmp_path, r'9.mp4 is 48 x 48, 0.mp4 is 32 x 32', videos=folder)


def test_short_videos_are_refused(tmp_path):
  folder = evaluations.films(tmp_path / 'v', 2)
  evaluations.film(folder / '2.mp4', frames=9)
  _refused(
    tmp_path, '2.mp4 has 9 frames, the protocol scores 16', videos=folder
  )


def test_classes_of_motion_are_read_of_no_other_data(tmp_path):
  folder = evaluations.films(tmp_path / 'v')
  _refused(
    tmp_path,
    'class_accuracy reads classes of motion, and those of moving_digits',
    videos=folder,
    metrics=('class_accuracy',),
  )


def test_a_damaged_video_is_named(tmp_path, judge, real_cache):
  folder = evaluations.films(tmp_path / 'v')
  path = folder / '5.mp4'
  path.write_bytes(path.read_bytes()[:-300])
  _refused(
    tmp_path,
    'a sample cannot be read: .*5.mp4',
    videos=folder,
    networks__motion_reader=judge,
    real_cache=real_cache,
  )


@pytest.mark.parametrize(
  ('films', 'words'),
  [
    ({'count': 5}, 'holds 5 videos, the protocol scores 8'),
    ({'count': 9}, 'holds 9 videos, the protocol scores 8'),
    ({'frames': 20}, 'has 20 frames, the protocol scores 16'),
    ({'side': 16}, '16 x 16, the protocol scores 32 x 32: frames are enlarged'),
    ({'fps': 8}, '8 frames a second, windows of the real side at 16.7'),
  ],
)
def test_what_the_protocol_does_not_allow_is_refused(
  tmp_path, judge, real_cache, films, words, real_fps
):
  folder = evaluations.films(tmp_path / 'v', **films)
  _refused(
    tmp_path,
    f'{words}.*--config.strict=False',
    videos=folder,
    networks__motion_reader=judge,
    real_cache=real_cache,
  )


@pytest.fixture
def real_fps(monkeypatch):
  """Digits have no frame rate; they get that of the protocol."""
  from framebridge_jax.evaluation import sides

  monkeypatch.setattr(sides.Reader, 'fps', evaluations.FPS)


def test_the_real_side_is_no_sample(tmp_path, judge):
  folder = evaluations.films(tmp_path / 'clips' / 'all')
  for place in (folder, folder.parent):
    _refused(
      tmp_path, 'where the real clips are', videos=folder, real_dir=place
    )
  other = tmp_path / 'other'
  shutil.copytree(folder, other)
  _refused(
    tmp_path,
    'samples are clips of the real side to the bit',
    videos=other,
    real_set='folder',
    real_dir=folder,
    split='train',
    real=4,
    samples=3,
    strict=False,
    networks__motion_reader=judge,
    real_cache=tmp_path / 'cache',
  )


def test_too_few_real_clips_are_refused(tmp_path, judge, real_cache):
  folder = evaluations.films(tmp_path / 'v')
  same = {'videos': folder, 'networks__motion_reader': judge}
  same['real_cache'] = real_cache
  _refused(tmp_path, 'has 20 clips, the protocol wants 30', real=30, **same)
  _refused(tmp_path, 'leave 1 for the floor', real=3, samples=30, **same)


def test_missing_weights_are_all_named_at_once(tmp_path):
  folder = evaluations.films(tmp_path / 'v')
  error = _refused(
    tmp_path,
    'fvd needs I3D; port it with',
    videos=folder,
    metrics=('fvd', 'clipsim', 'pic', 'motion'),
    networks__clip_image=tmp_path / 'none',
  )
  for key in ('networks.i3d', 'networks.clip_image', 'networks.dreamsim'):
    assert key in str(error)
  assert '--config.metrics' in str(error)


def test_weights_of_another_network_are_refused(tmp_path, judge):
  folder = evaluations.films(tmp_path / 'v')
  _refused(
    tmp_path,
    'holds no I3D',
    videos=folder,
    metrics=('fvd',),
    networks__i3d=judge,
  )


def test_a_library_that_is_missing_is_named_with_its_command(monkeypatch):
  with pytest.raises(
    extras.MissingError, match='pic needs the library nowhere.*pip install x'
  ):
    extras.library('nowhere.inside', 'pic', 'x==1')


def test_what_pytorch_reads_must_be_on_this_machine(tmp_path):
  assert extras.on_disk(tmp_path, 'is') == tmp_path
  with pytest.raises(extras.MissingError, match='is reads gs://b/c3d.pt thro'):
    extras.on_disk(epath.Path('gs://b/c3d.pt'), 'is')


def test_weights_in_a_folder_are_told_by_all_of_its_files(tmp_path):
  (tmp_path / 'a' / 'b').mkdir(parents=True)
  (tmp_path / 'a' / 'b' / 'x.pth').write_bytes(b'1')
  first = extras.digest(tmp_path)
  assert extras.digest(tmp_path / 'a' / 'b' / 'x.pth') == first
  (tmp_path / 'a' / 'y.pth').write_bytes(b'2')
  assert extras.digest(tmp_path) != first


def test_samples_of_another_size_are_refused(trained):
  for change in ({'size': 64}, {'protocol': 'ucf101', 'real_set': ''}):
    with pytest.raises(ValueError, match='the run makes 16 frames of 32 x 32'):
      evaluations.run(trained, **{**evaluations.SMALL, **change})


def test_a_checkpoint_that_is_not_there_is_refused(trained, judge, real_cache):
  with pytest.raises(ValueError, match='no checkpoint of step 5 .* 4, 6'):
    evaluations.run(
      trained,
      **evaluations.SMALL,
      step=5,
      networks__motion_reader=judge,
      real_cache=real_cache,
    )


def test_videos_are_scored_once_whatever_the_seed(tmp_path):
  folder = evaluations.films(tmp_path / 'v')
  _refused(tmp_path, 'seeds is 3 and videos are given', videos=folder, seeds=3)


def test_scenes_want_a_set_that_has_some(tmp_path, judge, real_cache):
  folder = evaluations.films(tmp_path / 'v')
  _refused(
    tmp_path,
    "unknown split 'multi'",
    videos=folder,
    several=4,
    networks__motion_reader=judge,
    real_cache=real_cache,
  )
