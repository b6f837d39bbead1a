"""--mode=sample on real files: every task, batches, sidecars, long clips."""

import json
import re
import shutil
import signal
import subprocess

import numpy as np
import pytest
from PIL import Image

import commands as cli
from framebridge_jax.cli import configs, sample
from framebridge_jax.data import clips, images, video_io

pytestmark = pytest.mark.usefixtures('quick_compilation')


@pytest.fixture(scope='module')
def run(trained, tmp_path_factory):
  """A copy of the trained run, whose samples are this module's."""
  workdir = tmp_path_factory.mktemp('sampled') / 'run'
  shutil.copytree(trained, workdir, ignore=shutil.ignore_patterns('samples'))
  return workdir


@pytest.fixture(scope='module')
def files(tmp_path_factory):
  """Two pictures, a short video and a text that is neither."""
  folder = tmp_path_factory.mktemp('files')
  rng = np.random.default_rng(0)
  for name in ('a.png', 'b.png'):
    Image.fromarray(rng.integers(0, 256, (40, 32, 3), np.uint8)).save(
      folder / name
    )
  frames = rng.integers(0, 256, (20, 32, 32, 3), np.uint8)
  video_io.write_mp4(folder / 'clip.mp4', frames, 8)
  (folder / 'broken.png').write_text('no picture')
  return folder


def _sample(workdir, **keys):
  """In this process: what `main` does, without its start."""
  config = configs.for_mode('sample', None, workdir)
  config.update_from_flattened_dict({'num_steps': 2, 'label': 3, **keys})
  sample.run(config, workdir)
  return workdir / 'samples'


def _strip(path):
  strip = np.asarray(Image.open(path))
  return np.stack(np.split(strip, strip.shape[1] // strip.shape[0], axis=1))


def _picture(path):
  return clips.resize_crop(images.read_image(path), 32)


def test_interpolation_leads_from_one_picture_to_the_other(run, files):
  a, b = files / 'a.png', files / 'b.png'
  folder = _sample(run, task='interpolate', image=f'{a},{b}')
  frames = _strip(folder / 'a_b.png')
  assert len(frames) == 16
  np.testing.assert_array_equal(frames[0], _picture(a))
  np.testing.assert_array_equal(frames[-1], _picture(b))
  facts = json.loads((folder / 'a_b.json').read_text())
  assert facts['task'] == 'interpolate'
  assert [x['path'] for x in facts['given']] == [str(a), str(b)]
  assert facts['settings']['num_steps'] == 2
  assert 'checkpoints' not in facts['weights']['path']
  assert facts['weights']['step'] == 6


def test_a_video_is_extended_to_a_length(run, files):
  folder = _sample(
    run, task='extend:overlap=3', video=str(files / 'clip.mp4'), length=37
  )
  frames = _strip(folder / 'clip.png')
  assert len(frames) == 37
  given = video_io.read_video(files / 'clip.mp4')
  np.testing.assert_array_equal(frames[:20], given)
  assert len(video_io.read_video(folder / 'clip.mp4')) == 37


def test_a_folder_of_pictures_is_a_clip_each(run, files, tmp_path):
  for name in ('a.png', 'b.png'):
    shutil.copy(files / name, tmp_path / name)
  folder = _sample(run, image=str(tmp_path), seed=3)
  for name in ('a', 'b'):
    frames = _strip(folder / f'{name}.png')
    np.testing.assert_array_equal(frames[0], _picture(tmp_path / f'{name}.png'))


def test_an_empty_folder_is_refused(run, tmp_path):
  with pytest.raises(ValueError, match='holds no file that ends in .png'):
    _sample(run, image=str(tmp_path))


LINES = [
  {'image': 'a.png', 'name': 'one', 'label': 1},
  {'image': 'b.png', 'name': 'two', 'seed': 4},
  {'image': 'broken.png'},
  {'image': 'a.png', 'name': 'three', 'label': 11},
  'no JSON',
  {'image': 'a.png', 'nam': 'four'},
  {'image': 'a.png', 'name': 'one'},
  {'task': 'edit:known=0', 'video': 'clip.mp4', 'name': 'edited', 'count': 2},
  {'task': 'interpolate', 'image': ['a.png', 'b.png'], 'name': 'way'},
]
ERRORS = [
  'line 3: .*broken.png is no image',
  'line 4: label is 11, the model has classes 0 to 9',
  'line 5: no JSON',
  'line 6: nam is no key of a line; did you mean name',
  "line 7: name 'one' is taken by line 1",
]
MADE = ['edited_0', 'edited_1', 'one', 'two', 'way']


@pytest.fixture(scope='module')
def batch(files):
  """A batch file with good lines and bad ones."""
  lines = []
  for line in LINES:
    if isinstance(line, dict):
      line = dict(line)
      for key in ('image', 'video'):
        paths = line.get(key, '')
        if isinstance(paths, list):
          line[key] = [str(files / x) for x in paths]
        elif paths:
          line[key] = str(files / paths)
      line = json.dumps(line)
    lines.append(line)
  path = files / 'batch.jsonl'
  path.write_text('\n'.join(lines) + '\n\n')
  return path


@pytest.fixture(scope='module')
def batched(batch, run, tmp_path_factory):
  """What the command line made of it, and said."""
  workdir = tmp_path_factory.mktemp('batched') / 'run'
  shutil.copytree(run, workdir, ignore=shutil.ignore_patterns('samples'))
  done = cli.call('sample', workdir, batch=batch, num_steps=2, label=3)
  return workdir, done


def test_a_bad_line_is_reported_and_the_rest_is_made(batched):
  workdir, done = batched
  assert done.returncode == 2
  (said,) = [x for x in done.stderr.splitlines() if x.startswith('error: ')]
  assert '5 of 9 could not be made and the others are there' in said
  for error in ERRORS:
    assert re.search(error, said), (error, said)
  assert 'Traceback' not in done.stderr
  stems = {path.stem for path in (workdir / 'samples').iterdir()}
  assert sorted(stems) == MADE
  for stem in stems:
    for suffix in ('.mp4', '.gif', '.png', '.json'):
      assert (workdir / 'samples' / f'{stem}{suffix}').stat().st_size > 0


def test_a_batch_goes_on_where_it_was_and_makes_nothing_twice(batched, batch):
  workdir, _ = batched
  folder = workdir / 'samples'
  # A line that was not finished: its facts come last.
  (folder / 'two.json').unlink()
  before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
  with pytest.raises(ValueError, match='5 of 9'):
    _sample(workdir, batch=str(batch))
  changed = {
    path.name
    for path in folder.iterdir()
    if path.stat().st_mtime_ns != before.get(path)
  }
  assert changed == {f'two{x}' for x in ('.mp4', '.gif', '.png', '.json')}


def test_hosts_make_every_clip_once_and_as_one_host_does(
  run, files, tmp_path, monkeypatch
):
  """Five clips over two hosts, in batches of two: both end with a part."""
  shared, alone = tmp_path / 'shared', tmp_path / 'alone'
  for workdir in (shared, alone):
    shutil.copytree(run, workdir, ignore=shutil.ignore_patterns('samples'))
  keys = {'image': str(files / 'a.png'), 'count': 5, 'batch_size': 2}
  folder = _sample(shared, host=1, hosts=2, **keys)
  first = {path.stem: path.read_bytes() for path in folder.glob('*.png')}
  assert first.keys() == {'a_1', 'a_3'}
  for name, value in (('COORDINATOR_ADDRESS', 'a:1'), ('NUM_PROCESSES', '2')):
    monkeypatch.setenv(f'JAX_{name}', value)
  monkeypatch.setenv('JAX_PROCESS_ID', '0')
  _sample(shared, **keys)
  monkeypatch.undo()
  both = {path.stem: path.read_bytes() for path in folder.glob('*.png')}
  assert both.keys() == {f'a_{i}' for i in range(5)}
  assert first.items() < both.items()
  want = _sample(alone, **keys)
  assert both == {path.stem: path.read_bytes() for path in want.glob('*.png')}
  with pytest.raises(ValueError, match='host is 2 of 2 hosts'):
    _sample(alone, host=2, hosts=2, **keys)


def test_a_line_is_made_again_when_it_asks_for_something_else(run, files):
  folder = _sample(run, image=str(files / 'a.png'), name='again')
  first = (folder / 'again.png').read_bytes()
  stamp = (folder / 'again.png').stat().st_mtime_ns
  _sample(run, image=str(files / 'a.png'), name='again')
  assert (folder / 'again.png').stat().st_mtime_ns == stamp
  _sample(run, image=str(files / 'a.png'), name='again', seed=9)
  assert (folder / 'again.png').read_bytes() != first


def test_clips_of_a_batch_are_those_that_are_made_alone(batched, run, files):
  folder = _sample(run, image=str(files / 'b.png'), name='alone', seed=4)
  alone = _strip(folder / 'alone.png').astype(int)
  together = _strip(batched[0] / 'samples' / 'two.png').astype(int)
  assert np.abs(alone - together).max() <= 1


def test_a_stream_goes_on_until_it_is_stopped(run, files):
  """Ctrl-C leaves a whole video of what there was."""
  workdir = run
  words = {'task': 'extend', 'image': files / 'a.png', 'length': -1}
  process = subprocess.Popen(
    cli.command('sample', workdir, name='endless', num_steps=2, **words),
    cwd=cli.ROOT,
    env=cli.environment(),
    stderr=subprocess.PIPE,
    text=True,
  )
  frames = 0
  for line in process.stderr:
    if 'frames; Ctrl-C ends it' in line:
      frames = int(line.split(' has ')[1].split()[0])
    if frames > 60:
      process.send_signal(signal.SIGINT)
      break
  process.stderr.read()
  assert process.wait(60) == 0
  video = video_io.read_video(workdir / 'samples' / 'endless.mp4')
  facts = json.loads((workdir / 'samples' / 'endless.json').read_text())
  assert len(video) == facts['length'] >= frames


REFUSED = [
  ({}, 'no image given for task i2v'),
  ({'task': 'i2w', 'image': 'a.png'}, 'task is .*want one of generate, i2v'),
  ({'image': 'a.png', 'length': 40}, 'only extend and rolling have a length'),
  ({'task': 'rolling', 'image': 'a.png'}, 'length is 0; give the frames'),
  ({'task': 'keyframes:known=0 16', 'image': 'a.png,b.png'}, r'\[16\].*16 fr'),
  ({'task': 'extend:overlap=16', 'video': 'clip.mp4'}, 'all 16 frames are kn'),
  ({'task': 'interpolate', 'image': 'a.png'}, 'takes 2 pictures, 1 are given'),
  ({'image': 'broken.png'}, 'broken.png is no image that can be read'),
  ({'image': 'gone.png'}, 'gone.png is no file'),
  ({'batch': 'gone.jsonl'}, 'want a file of JSON lines'),
  ({'image': 'a.png', 'size': 30}, 'not a multiple of the patch 8; use 24'),
  ({'image': 'a.png', 'compute_dtype': 'float8'}, 'compute_dtype is'),
]


@pytest.mark.parametrize(('keys', 'message'), REFUSED, ids=str)
def test_what_makes_no_sense_is_refused_before_compilation(
  run, files, keys, message, compilations, monkeypatch
):
  monkeypatch.chdir(files)
  with pytest.raises(ValueError, match=message):
    _sample(run, **keys)
  assert not compilations
