"""Reports of methods, from what evaluation and other systems left."""

import json
import shutil

import evaluations
import numpy as np
import pytest
from PIL import Image

from framebridge_jax.cli import configs, report


@pytest.fixture(scope='module')
def scored(tmp_path_factory):
  """The workdir of a folder of videos that was scored, and the folder."""
  folder = tmp_path_factory.mktemp('videos')
  given, videos = folder / 'given', folder / 'system'
  words = {
    **evaluations.SMALL,
    'networks__motion_reader': evaluations.reader(folder / 'j.safetensors'),
    'real_cache': folder / 'real',
    'metrics': ('fd_phys', 'motion'),
  }
  evaluations.run(folder / 'w', **words, give=given)
  for i, name in enumerate(json.loads((given / 'given.json').read_text())):
    evaluations.film(videos / f'{name}.mp4', seed=i)
  evaluations.run(folder / 'w', **words, videos=videos)
  return folder / 'w', videos


def _report(workdir, kind, **changes):
  config = configs.for_mode('report', None, workdir)
  config.update({'report': kind, **changes})
  report.run(config, workdir)


def test_results_and_bare_videos_stand_on_one_page(scored, tmp_path):
  workdir, videos = scored
  methods = (f'ours={workdir}', f'theirs={videos}')
  _report(tmp_path, 'compare', methods=methods)
  text = (tmp_path / 'comparison.html').read_text()
  for word in ('FD-phys', 'Clips in step', 'Contact sheets', 'SNR alignment'):
    assert word in text
  assert text.count('role="img" aria-label="0') == 2 + 8 + 2
  assert 'http' not in text.replace('http-equiv', '').replace(
    'http://www.w3.org/2000/svg', ''
  )


def test_a_table_gives_curves(tmp_path):
  rows = [
    {
      'tier': 'T2',
      'protocol': 'ucf101',
      'method': 'm',
      'score': 'fvd',
      'value': 900.0 / step,
      'training_step': step,
      'num_steps': 20,
    }
    for step in (1, 2, 3)
  ]
  table = tmp_path / 'results.jsonl'
  table.write_text(''.join(json.dumps(row) + '\n' for row in rows))
  _report(tmp_path, 'compare', methods=(f'a={table}',))
  text = (tmp_path / 'comparison.html').read_text()
  assert 'Against training steps' in text
  assert 'FVD (ucf101)' in text


def test_ratings_go_round(scored, tmp_path):
  """Written, answered, counted."""
  workdir, videos = scored
  methods = (f'ours={workdir}', f'theirs={videos}')
  _report(tmp_path, 'rating', methods=methods, clips=2)
  page = (tmp_path / 'rating.html').read_text()
  assert 'ours' not in page and 'theirs' not in page
  key = json.loads((tmp_path / 'rating_key.json').read_text())
  answer = tmp_path / 'answers.json'
  answer.write_text(
    json.dumps(
      {
        'rater': 'Ada',
        'ranks': {
          number: {
            question: {
              letter: 1 if method == 'theirs' else 2
              for letter, method in item['letters'].items()
            }
            for question in key['questions']
          }
          for number, item in key['items'].items()
        },
      }
    )
  )
  _report(tmp_path, 'compare', methods=methods, ratings=(str(answer),))
  text = (tmp_path / 'comparison.html').read_text()
  assert 'overall quality: average user ranking' in text
  assert text.index('"row">theirs</th><td>1.00') < text.index(
    '"row">ours</th><td>2.00'
  )


def test_methods_that_cannot_be_read_are_refused(scored, tmp_path):
  workdir, videos = scored
  (tmp_path / 'empty').mkdir()
  (tmp_path / 'other.json').write_text('{}')
  for methods, words in (
    ((), r'methods is \(\); give some'),
    (('a=/nowhere',), "method 'a=/nowhere': nothing is at"),
    ((f'a={videos}', f'a={workdir}'), 'two methods are called a'),
    ((f'{tmp_path}/empty',), 'neither results of --mode=evaluate nor videos'),
    ((f'{tmp_path}/other.json',), 'no result of --mode=evaluate'),
  ):
    with pytest.raises(ValueError, match=words):
      _report(tmp_path / 'w', 'compare', methods=methods)
  other = evaluations.films(tmp_path / 'others', 2)
  with pytest.raises(ValueError, match='share no clip'):
    _report(tmp_path, 'rating', methods=(f'{videos}', f'{other}'))
  with pytest.raises(ValueError, match='ratings: .*none.json cannot be read'):
    (tmp_path / 'rating_key.json').write_text('{}')
    _report(tmp_path, 'compare', methods=(f'{videos}',), ratings=('none.json',))


def test_a_run_shows_its_way_from_the_prior_to_the_video(trained, tmp_path):
  workdir = tmp_path / 'run'
  shutil.copytree(trained, workdir)
  _report(workdir, 'paths', clips=2)
  pictures = {x.stem for x in (workdir / 'paths').iterdir()}
  assert pictures == {
    'latents_z_t',
    'means_of_the_bridge',
    'means_of_a_diffusion',
    'prior_and_video',
  }
  means = np.asarray(Image.open(workdir / 'paths' / 'means_of_the_bridge.png'))
  latents = np.asarray(Image.open(workdir / 'paths' / 'latents_z_t.png'))
  assert means.shape == latents.shape
  # Seven rows of frames: the first is the prior, the last the video.
  rows = np.split(means[14:-14], 7)
  for i in (0, 6):
    other = np.split(latents[14:-14], 7)[i]
    cells = rows[i][:, 80:]
    assert np.abs(cells.astype(int) - other[:, 80:]).max() <= 1
  assert (
    np.abs(rows[3].astype(int) - np.split(latents[14:-14], 7)[3]).max() > 50
  )
