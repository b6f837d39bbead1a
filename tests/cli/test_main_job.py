"""The main job through the command line: train, resume, animate, report."""

import html.parser
import json
import signal
import subprocess
import time

import numpy as np
import pytest
from PIL import Image

import commands as cli
from framebridge_jax.data import clips, images


def test_training_leaves_checkpoints_events_metrics_and_config(trained):
  assert sorted(p.name for p in (trained / 'checkpoints').iterdir()) == [
    '4',
    '6',
  ]
  assert list((trained / 'events').glob('events.out.tfevents.*'))
  assert [step for step, _ in cli.losses(trained)] == [1, 2, 3, 4, 5, 6]
  config = json.loads((trained / 'config.json').read_text())
  assert config['model']['classes'] == 10


def test_killed_run_resumes_with_bit_equal_losses(trained, tmp_path, cache):
  words = cli.train_words(cache_dir=cache)
  victim = subprocess.Popen(
    cli.command('train', tmp_path, **words),
    cwd=cli.ROOT,
    env=cli.environment(),
    stderr=subprocess.DEVNULL,
  )
  _wait_for(lambda: (tmp_path / 'checkpoints' / '4').is_dir(), victim)
  victim.send_signal(signal.SIGKILL)
  assert victim.wait() == -signal.SIGKILL
  seen = cli.losses(tmp_path)
  assert seen
  # A torn last line is what a kill in the middle of a write leaves.
  with (tmp_path / 'metrics.jsonl').open('a') as lines:
    lines.write('{"step": 6, "lo')

  again = cli.call('train', tmp_path, **words)
  assert again.returncode == 0, again.stderr
  assert 'Restored step' in again.stderr
  # Losses, hashes of batches, everything: to the letter.
  resumed, whole = (
    (workdir / 'metrics.jsonl').read_text() for workdir in (tmp_path, trained)
  )
  assert resumed == whole


def test_finished_run_has_nothing_to_do(trained, cache):
  before = (trained / 'metrics.jsonl').read_bytes()
  again = cli.call('train', trained, **cli.train_words(cache_dir=cache))
  assert again.returncode == 0
  assert 'nothing to do' in again.stderr
  assert (trained / 'metrics.jsonl').read_bytes() == before


def test_workdir_of_another_model_is_refused(trained, cache):
  words = cli.train_words(cache_dir=cache, model__width=32)
  refused = cli.call('train', trained, **words)
  assert refused.returncode == 2
  assert 'model.width was 16, is 32' in refused.stderr


def test_sample_keeps_the_given_frame_and_moves_the_others(trained, photo):
  words = {'image': photo, 'label': 3, 'num_steps': 4, 'seed': 0, 'count': 2}
  done = cli.call('sample', trained, **words)
  assert done.returncode == 0, done.stderr
  given = clips.resize_crop(images.read_image(photo), 32)
  strips = []
  for i in (0, 1):
    stem = trained / 'samples' / f'photo_{i}'
    strip = np.asarray(Image.open(stem.with_suffix('.png')))
    assert strip.shape == (32, 16 * 32, 3)
    np.testing.assert_array_equal(strip[:, :32], given)
    assert stem.with_suffix('.mp4').stat().st_size > 0
    assert Image.open(stem.with_suffix('.gif')).n_frames > 1
    strips.append(strip)
  assert (strips[0] != strips[1]).any()

  # Noise belongs to the sample: alone, sample 0 is what it was in company.
  alone = cli.call('sample', trained, **{**words, 'count': 1, 'name': 'alone'})
  assert alone.returncode == 0, alone.stderr
  strip = np.asarray(Image.open(trained / 'samples' / 'alone.png'))
  difference = np.abs(strip.astype(int) - strips[0].astype(int))
  assert difference.max() <= 1


def test_evaluate_and_report_make_one_self_contained_page(trained):
  done = cli.call(
    'evaluate', trained, num_clips=4, num_futures=2, num_steps=2, num_show=2
  )
  assert done.returncode == 0, done.stderr
  scores = json.loads((trained / 'evaluation' / 'scores.json').read_text())
  assert scores['num_clips'] == 4
  assert scores['change_ratio'] >= 0
  assert 0 <= scores['read_real'] <= 1
  assert (trained / 'evaluation' / 'contact_sheet.png').is_file()
  done = cli.call('report', trained)
  assert done.returncode == 0, done.stderr
  page = (trained / 'report.html').read_text()
  sources = _Sources()
  sources.feed(page)
  assert len(sources.found) >= 5
  assert all(source.startswith('data:') for source in sources.found)


@pytest.mark.slow
def test_exported_weights_start_and_animate_another_run(
  trained, photo, tmp_path, cache
):
  path = tmp_path / 'weights.safetensors'
  done = cli.call('export', trained, path=path, export_dtype='float32')
  assert done.returncode == 0, done.stderr
  workdir = tmp_path / 'run'
  words = cli.train_words(cache_dir=cache, init_from=path, train__num_steps=2)
  done = cli.call('train', workdir, **words)
  assert done.returncode == 0, done.stderr
  assert 'Started from' in done.stderr
  assert cli.losses(workdir)[0] != cli.losses(trained)[0]
  sample = {'image': photo, 'num_steps': 3, 'name': 'same'}
  sample |= {'sampler': 'dbim:eta=0.5', 'grid': 'karras:rho=5,t_min=0.01'}
  for run, more in ((trained, {}), (workdir, {'weights': path})):
    done = cli.call('sample', run, **sample, **more)
    assert done.returncode == 0, done.stderr
  np.testing.assert_array_equal(
    *(
      np.asarray(Image.open(run / 'samples' / 'same.png'))
      for run in (trained, workdir)
    )
  )


class _Sources(html.parser.HTMLParser):
  def __init__(self):
    super().__init__()
    self.found = []

  def handle_starttag(self, tag, attributes):
    self.found += [v for k, v in attributes if k in ('src', 'href') and v]


def _wait_for(condition, process, seconds=200):
  end = time.monotonic() + seconds
  while not condition():
    assert process.poll() is None, 'the run ended before it could be killed'
    assert time.monotonic() < end, 'the run never got that far'
    time.sleep(0.02)
