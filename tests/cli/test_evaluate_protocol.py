"""Scores by a protocol: of a run's own samples, and of any folder's."""

import json
import shutil

import evaluations
import numpy as np
import pytest
from PIL import Image

import commands as cli
from framebridge_jax.data import video_io
from framebridge_jax.evaluation import metrics, tables


@pytest.fixture(scope='module')
def judge(tmp_path_factory):
  return evaluations.reader(tmp_path_factory.mktemp('judge') / 'j.safetensors')


@pytest.fixture(scope='module')
def real_cache(tmp_path_factory):
  return tmp_path_factory.mktemp('real')


@pytest.fixture(scope='module')
def words(judge, real_cache):
  return {
    **evaluations.SMALL,
    'networks__motion_reader': judge,
    'real_cache': real_cache,
  }


@pytest.fixture(scope='module')
def own(trained, words):
  """The result of a run's own samples, by the program itself."""
  done = cli.call('evaluate', trained, **words)
  assert done.returncode == 0, done.stderr
  folder = trained / 'evaluation_physics_motion'
  return json.loads((folder / 'result.json').read_text()), done.stderr


def test_a_run_gets_every_score_of_the_protocol(own):
  result, _ = own
  assert result['scores'].keys() == {
    'fd_phys',
    'motion',
    'flicker',
    'dynamic',
    'first_frame_psnr',
    'level_drift',
    'contrast_drift',
    'sharpness_drift',
  }
  for name, score in result['scores'].items():
    assert np.isfinite([score[x] for x in ('value', 'floor', 'copy')]).all()
    assert score['samples'] == 8, name
    assert score['low'] <= score['value'] <= score['high'], name
  assert result['scores']['fd_phys']['real'] == 8
  # The given frame comes back exactly.
  first = result['scores']['first_frame_psnr']
  assert first['value'] == first['floor']


def test_where_it_comes_from_stands_in_the_result(own):
  result, _ = own
  assert result['tier'] == 'T2'
  assert result['training_step'] == 6
  assert result['num_steps'] == 2
  assert result['seconds'] > 0
  assert len(result['samples'][0]['weights']) == 64
  assert result['clips']['dataset'] == evaluations.SMALL['real_set']
  assert result['config']['sampler'] == 'ancestral'
  assert result['date'] and result['version'] and result['device']
  assert any('real is 8, the protocol has 2000' in x for x in result['notes'])


def test_the_log_shows_counts_floor_and_reasons_to_doubt(own):
  _, log = own
  line = next(
    x for x in log.splitlines() if '] fd_phys: ' in x and 'floor' in x
  )
  assert 'n 8, against 8' in line
  assert 'copy' in line
  assert '8 clips span at most 7 of 320 features' in log
  assert 'make no claim below 1000' in log


def test_every_score_is_a_row_of_the_table(own, trained):
  rows = tables.read(trained / 'results.jsonl')
  mine = [row for row in rows if row['training_step'] == 6]
  assert {row['score'] for row in mine} >= {'fd_phys', 'motion'}
  assert rows[0]['method'] == trained.name
  assert '| fd_phys |' in tables.markdown(rows)


def test_samples_are_drawn_once(own, trained, words):
  """The same again reads them."""
  (folder,) = (trained / 'samples_scored').iterdir()
  files = {x.name: x.stat().st_mtime_ns for x in folder.iterdir()}
  again = _scored(trained, **words)
  assert {x.name: x.stat().st_mtime_ns for x in folder.iterdir()} == files
  for name, score in own[0]['scores'].items():
    assert again['scores'][name]['value'] == score['value'], name


def test_two_processes_draw_and_score_as_one(trained, words, tmp_path):
  """Ten samples in batches of three; of the last there is one alone.

  All on two devices a process: other numbers move a rounded pixel here and
  there.
  """
  words = words | {'samples': 10, 'batch_size': 3}
  found = {}
  for count in (1, 2):
    workdir = tmp_path / f'{count}'
    ignored = shutil.ignore_patterns('samples_scored', 'evaluation_*')
    shutil.copytree(trained, workdir, ignore=ignored)
    done = cli.call_together(count, 'evaluate', workdir, **words)
    assert done.returncode == 0, done.stderr
    scored = workdir / 'evaluation_physics_motion'
    found[count] = json.loads((scored / 'result.json').read_text())
    assert found[count]['hosts'] == count
    (folder,) = (workdir / 'samples_scored').iterdir()
    drawn = sorted(x.stem for x in folder.glob('*.npy'))
    assert drawn == ['00000000_3', '00000003_3', '00000006_3', '00000009_1']
    assert len(list(scored.rglob('*.mp4'))) == 4
  for name, score in found[1]['scores'].items():
    for key in ('value', 'floor', 'copy', 'samples'):
      want = pytest.approx(score[key], rel=1e-6)
      assert found[2]['scores'][name][key] == want, (name, key)


def test_what_one_process_does_is_refused_to_several(trained, monkeypatch):
  monkeypatch.setenv('JAX_COORDINATOR_ADDRESS', 'localhost:1')
  monkeypatch.setenv('JAX_NUM_PROCESSES', '2')
  monkeypatch.setenv('JAX_PROCESS_ID', '0')
  with pytest.raises(ValueError, match='one of 2 processes'):
    evaluations.run(trained)


@pytest.mark.slow
def test_three_seeds_give_a_mean_with_its_interval(trained, words, tmp_path):
  workdir = tmp_path / 'run'
  shutil.copytree(trained, workdir)
  found = _scored(workdir, **words, seeds=3)
  score = found['scores']['fd_phys']
  assert len(score['seeds']) == 3
  assert score['value'] == pytest.approx(np.mean(score['seeds']))
  assert [x['seed'] for x in found['samples']] == [0, 1, 2]


def test_another_checkpoint_can_be_scored(trained, words, tmp_path):
  workdir = tmp_path / 'run'
  shutil.copytree(trained, workdir)
  found = _scored(workdir, **words, step=4, metrics=('motion',))
  assert found['training_step'] == 4
  assert found['scores'].keys() == {'motion'}


@pytest.fixture(scope='module')
def system(tmp_path_factory):
  return evaluations.films(tmp_path_factory.mktemp('videos') / 'system')


def _scored(workdir, **words):
  evaluations.run(workdir, **words)
  path = workdir / 'evaluation_physics_motion' / 'result.json'
  return json.loads(path.read_text())


@pytest.fixture(scope='module')
def of_folder(system, words, tmp_path_factory):
  workdir = tmp_path_factory.mktemp('scores')
  names = ('fd_phys', 'motion', 'flicker')
  return _scored(workdir, **words, videos=system, metrics=names)


def test_any_folder_of_videos_is_scored_by_the_same_command(of_folder, system):
  """mp4 in, numbers out: nothing of a run is needed."""
  assert (of_folder['tier'], of_folder['method']) == ('-', 'system')
  assert of_folder['scores'].keys() == {'fd_phys', 'motion', 'flicker'}
  steps = [
    np.diff(video_io.read_video(path).astype(float), axis=0)
    for path in system.iterdir()
  ]
  want = np.mean([np.sqrt(np.mean(step**2)) for step in steps])
  assert of_folder['scores']['motion']['value'] == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize('change', ['batch_size', 'order', 'no cache'])
def test_neither_batches_nor_order_nor_cache_change_a_score(
  of_folder, system, words, change, tmp_path
):
  words = {**words, 'videos': system}
  if change == 'batch_size':
    words |= {'batch_size': 3, 'real_cache': tmp_path / 'real'}
  elif change == 'no cache':
    words['real_cache'] = tmp_path / 'real'
  else:
    words['videos'] = tmp_path / 'written_backwards'
    words['videos'].mkdir()
    for path in sorted(system.iterdir(), reverse=True):
      shutil.copy(path, words['videos'])
  found = _scored(tmp_path / 'w', **words, metrics=('fd_phys', 'motion'))
  for name in ('fd_phys', 'motion'):
    for key in ('value', 'floor', 'copy', 'low', 'high'):
      want = pytest.approx(of_folder['scores'][name][key], rel=1e-6)
      assert found['scores'][name][key] == want, (name, key)


def test_one_device_gives_the_scores_of_four(
  of_folder, system, words, tmp_path
):
  """The program itself has one device, this process four."""
  done = cli.call(
    'evaluate',
    tmp_path,
    **{**words, 'videos': system, 'real_cache': tmp_path / 'real'},
    metrics="('fd_phys','motion')",
  )
  assert done.returncode == 0, done.stderr
  path = tmp_path / 'evaluation_physics_motion' / 'result.json'
  found = json.loads(path.read_text())
  assert (of_folder['device'][:4], found['device'][:4]) == ('4 x ', '1 x ')
  for name in ('fd_phys', 'motion'):
    for key in ('value', 'floor', 'copy', 'low', 'high'):
      want = pytest.approx(of_folder['scores'][name][key], rel=1e-6)
      assert found['scores'][name][key] == want, (name, key)


def test_without_strict_the_doubts_stand_beside_the_numbers(words, tmp_path):
  folder = evaluations.films(tmp_path / 'system', 5, frames=18)
  found = _scored(
    tmp_path, **words, videos=folder, strict=False, metrics=('motion',)
  )
  said = ' '.join(found['notes'])
  assert 'holds 5 videos, the protocol scores 8' in said
  assert 'has 18 frames, the protocol scores 16' in said
  assert found['scores']['motion']['samples'] == 5


def test_first_frames_are_given_to_another_system_and_found_again(
  own, trained, words, tmp_path
):
  """Written, animated by name, and scored against the images and truths."""
  given = tmp_path / 'given'
  evaluations.run(tmp_path / 'w', **words, give=given)
  asked = json.loads((given / 'given.json').read_text())
  assert len(asked) == 8
  videos = tmp_path / 'videos'
  videos.mkdir()
  for name, what in asked.items():
    image = np.asarray(Image.open(given / f'{name}.png'))
    assert what['caption'] == str(what['class'])  # digits' names
    still = np.repeat(image[None], 16, axis=0)
    video_io.write_mp4(videos / f'{name}.mp4', still, evaluations.FPS)
  names = ('first_frame_psnr', 'psnr', 'ssim')
  found = _scored(tmp_path / 'w', **words, videos=videos, metrics=names)
  # A run and another system show the same clips.
  for workdir in (trained, tmp_path / 'w'):
    kept = (workdir / 'evaluation_physics_motion' / 'samples').glob('*.mp4')
    assert sorted(path.stem for path in kept) == sorted(asked)[:2]
  found = found['scores']
  assert found['first_frame_psnr']['value'] > 28  # what mp4 leaves of it
  assert found['psnr']['value'] == pytest.approx(found['psnr']['copy'], abs=0.5)
  assert found['ssim']['value'] < found['ssim']['floor'] == pytest.approx(1)


def test_videos_of_unknown_names_have_no_image(words, tmp_path):
  folder = tmp_path / 'system'
  for i in range(8):
    evaluations.film(folder / f'video{i}.mp4', seed=i)
  with pytest.raises(ValueError, match='video0 comes without the image'):
    evaluations.run(
      tmp_path / 'w', **words, videos=folder, metrics=('first_frame_psnr',)
    )


def test_scenes_are_scored_against_their_true_futures(judge, tmp_path):
  """The sample that the package carries: 2 scenes, 4 futures of each."""
  same = {
    'protocol': 'physics_motion',
    'real_set': 'physics_motion:sample=true',
    'split': 'train',
    'real': 5,
    'samples': 5,
    'several': 2,
    'draws': 4,
    'networks__motion_reader': judge,
    'real_cache': tmp_path / 'real',
  }
  given, videos = tmp_path / 'given', tmp_path / 'videos'
  evaluations.run(tmp_path / 'w', **same, give=given)
  for folder, copies in ((given, ('',)), (given / 'multi', ('-0', '-1'))):
    out = videos / folder.relative_to(given)
    out.mkdir(parents=True, exist_ok=True)
    for path in folder.glob('*.png'):
      still = np.repeat(np.asarray(Image.open(path))[None], 16, axis=0)
      for k in copies:
        video_io.write_mp4(out / f'{path.stem}{k}.mp4', still, evaluations.FPS)
  same['metrics'] = ('motion',)
  scores = _scored(tmp_path / 'w', **same, videos=videos)['scores']
  assert len(scores['recall']['scenes']) == 2
  assert (scores['recall']['samples'], scores['recall']['real']) == (4, 8)
  for name in ('recall', 'energy', 'best_psnr'):
    slack = 0.1 * abs(scores[name]['copy']) + 0.1
    assert scores[name]['value'] == pytest.approx(
      scores[name]['copy'], abs=slack
    )
  assert scores['diversity']['value'] == 0
  (videos / 'multi' / '000004-1.mp4').unlink()
  with pytest.raises(ValueError, match='lacks 000004-1.mp4 and 0 more'):
    evaluations.run(tmp_path / 'w', **same, videos=videos)


def test_the_ladder_has_a_row_a_rung(words, tmp_path):
  evaluations.run(
    tmp_path, **words, ladder=True, metrics=('fd_phys', 'motion', 'psnr')
  )
  table = json.loads((tmp_path / 'ladder_physics_motion.json').read_text())
  assert [row['kind'] for row in table['rows']] == [
    'real',
    *['noise'] * 4,
    *['blur'] * 3,
    *['frozen'] * 4,
    *['shuffled'] * 3,
  ]
  psnr = [row['scores']['psnr'] for row in table['rows']]
  for kind in (slice(1, 5), slice(5, 8), slice(8, 12), slice(12, 15)):
    assert psnr[0] > psnr[kind][0]
    assert sorted(psnr[kind], reverse=True) == psnr[kind]
  text = (tmp_path / 'ladder_physics_motion.md').read_text().splitlines()
  assert len(text) == 2 + len(table['rows'])
  assert text[0] == (
    f'| corruption | strength | {metrics.METRICS["fd_phys"].title} | motion | '
    f'PSNR, dB | FD-phys from the same clips |'
  )
  paired = [row['from_clean'] for row in table['rows']]
  assert [x.keys() for x in paired] == [{'fd_phys'}] * len(paired)
  assert paired[0]['fd_phys'] < 1e-9 < min(x['fd_phys'] for x in paired[1:])


def test_vbench_gets_five_videos_of_each_prompt(trained, tmp_path):
  workdir = tmp_path / 'run'
  shutil.copytree(trained, workdir)
  images = tmp_path / 'crop' / '1-1'
  images.mkdir(parents=True)
  rng = np.random.default_rng(0)
  for name in ('a bird.jpg', 'a hill.jpg'):
    pixels = rng.integers(0, 256, (40, 50, 3), np.uint8)
    Image.fromarray(pixels).save(images / name)
  info = tmp_path / 'info.json'
  info.write_text(
    json.dumps(
      [
        {'prompt_en': 'a bird', 'image_name': 'a bird.jpg'},
        {'prompt_en': 'a hill, camera pans left'},
      ]
    )
  )
  same = {
    'protocol': 'vbench_i2v',
    'num_steps': 2,
    'vbench__info': info,
    'vbench__images': images,
    'batch_size': 5,
  }
  evaluations.run(workdir, **same)
  found = sorted(x.name for x in (workdir / 'vbench_i2v').iterdir())
  assert found == [
    f'{prompt}-{k}.mp4'
    for prompt in ('a bird', 'a hill, camera pans left')
    for k in range(5)
  ]
  assert len(video_io.read_video(workdir / 'vbench_i2v' / found[0])) == 16
  facts = json.loads((workdir / 'vbench_i2v.json').read_text())
  assert len(facts['sample_ids']) == 10
  (images / 'a hill.jpg').unlink()
  with pytest.raises(ValueError, match='a hill.jpg is missing, which'):
    evaluations.run(workdir, **same)
