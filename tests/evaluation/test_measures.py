"""Tables of numbers: order, batches, devices, cache, hosts."""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import measured
import numpy as np
import pytest
from etils import epath

import commands as cli
from framebridge_jax.evaluation import cache, devices, hosts, measures


def test_tables_are_in_the_order_of_names():
  clips = measured.make_clips(7)
  plain = measured.table(clips, measured.Counting())
  mixed = measured.table(
    [clips[i] for i in (5, 2, 6, 0, 1, 4, 3)], measured.Counting()
  )
  assert plain.names == mixed.names == tuple(f'{i:03}' for i in range(7))
  np.testing.assert_array_equal(plain.values, mixed.values)
  assert plain.digests == mixed.digests
  assert mixed.labels == tuple(range(7))
  np.testing.assert_allclose(
    plain.column('mean')[:, 0], [x.video.mean() for x in clips], rtol=1e-6
  )


@pytest.mark.parametrize('batch_size', [1, 2, 7, 50])
def test_batches_change_nothing(batch_size):
  clips = measured.make_clips(7)
  found = measured.table(clips, measured.Counting(), batch_size=batch_size)
  np.testing.assert_array_equal(
    found.values, measured.table(clips, measured.Counting()).values
  )


def test_two_clips_of_one_name_are_refused():
  clips = measured.make_clips(3)
  with pytest.raises(measures.ClipError, match='two clips are named 001'):
    measured.table([*clips, clips[1]], measured.Counting())


def test_clips_that_are_too_short_are_refused():
  with pytest.raises(measures.ClipError, match='000 has 4 frames; means needs'):
    measured.table(measured.make_clips(2), measured.Counting(least_frames=10))


def test_clips_without_what_a_measure_needs_are_refused():
  with pytest.raises(measures.ClipError, match='000 comes without a caption'):
    measured.table(
      measured.make_clips(2), measured.Counting(needs=('caption',))
    )
  with pytest.raises(measures.ClipError, match='000 comes without a true clip'):
    measured.table(measured.make_clips(2), measured.Counting(needs=('truth',)))
  assert (
    len(
      measured.table(
        measured.make_clips(2), measured.Counting(needs=('image',))
      ).names
    )
    == 2
  )


def test_what_was_measured_is_not_measured_again(tmp_path):
  folder = epath.Path(tmp_path)
  clips, counting = measured.make_clips(6), measured.Counting()
  first = measured.table(clips[:4], counting, folder=folder)
  assert counting.seen == 4
  again = measured.Counting()
  second = measured.table(clips, again, folder=folder)
  assert again.seen == 2
  np.testing.assert_array_equal(first.values, second.values[:4])


def test_the_cache_knows_content_and_measure_but_no_names(tmp_path):
  folder = epath.Path(tmp_path)
  clips = measured.make_clips(3)
  measured.table(clips, measured.Counting(), folder=folder)
  renamed = [
    measures.Clip(name=f'x{clip.name}', video=clip.video) for clip in clips
  ]
  counting = measured.Counting()
  measured.table(renamed, counting, folder=folder)
  assert counting.seen == 0
  changed = renamed[0].video.copy()
  changed[0, 0, 0, 0] ^= 1
  measured.table(
    [measures.Clip(name='y', video=changed)], counting, folder=folder
  )
  assert counting.seen == 1
  other = measured.Counting(needs=('image',))  # looks at more than the video
  measured.table(clips, other, folder=folder)
  assert other.seen == 3


def test_a_damaged_file_of_the_cache_is_measured_anew(tmp_path, caplog):
  folder = epath.Path(tmp_path)
  measured.table(measured.make_clips(3), measured.Counting(), folder=folder)
  (file,) = tmp_path.glob('*/*.npz')
  file.write_bytes(file.read_bytes()[:100])
  counting = measured.Counting()
  measured.table(measured.make_clips(3), counting, folder=folder)
  assert counting.seen == 3
  assert 'damaged' in caplog.text


def test_an_evaluation_that_was_killed_loses_no_more_than_a_minute(
  tmp_path, monkeypatch
):
  monkeypatch.setattr(cache, '_PAUSE', 0.0)
  kept = cache.Cache(tmp_path)
  kept.add('d' * 64, ['a'], np.zeros((1, 2)))  # and then the process is gone
  kept.add('d' * 64, ['b'], np.ones((1, 2)))
  assert set(cache.Cache(tmp_path).known('d' * 64)) == {'a', 'b'}


def _project(variables, clips):
  x = clips.astype(jnp.float32).reshape(len(clips), -1)
  return jnp.tanh(x @ variables / 1e4)


@pytest.mark.parametrize('each', [1, 3])
def test_a_network_gives_each_clip_the_same_on_any_number_of_devices(each):
  """One device, and the four of the tests; to the last bit."""
  clips = np.stack([clip.video for clip in measured.make_clips(7)])
  rng = np.random.default_rng(0)
  weights = jnp.asarray(rng.normal(size=(clips[0].size, 5)), jnp.float32)
  four = devices.spread(_project, weights, each=each)
  one = devices.spread(
    _project, weights, each=each, devices=jax.local_devices()[:1]
  )
  assert len(jax.local_devices()) == 4
  np.testing.assert_array_equal(four(clips), one(clips))
  np.testing.assert_array_equal(four(clips)[2:3], one(clips[2:3]))
  want = np.tanh(clips.reshape(7, -1) @ np.asarray(weights, np.float64) / 1e4)
  np.testing.assert_allclose(one(clips), want, atol=1e-5)


def test_rows_go_to_bytes_and_back():
  rows = {
    'a': ('k' * 64, np.arange(3, dtype=np.float32), 4),
    'ü b': ('l' * 64, np.zeros(3, np.float32), -1),
  }
  back = hosts.unpacked(hosts.packed(rows))
  assert back.keys() == rows.keys()
  for name, (key, values, label) in rows.items():
    assert (back[name][0], back[name][2]) == (key, label)
    np.testing.assert_array_equal(back[name][1], values)
  assert hosts.unpacked(hosts.packed({})) == {}


_HOST = """
import json, sys
import jax
jax.distributed.initialize(f'localhost:{sys.argv[1]}', 2, int(sys.argv[2]))
import measured
own = measured.make_clips(7)[jax.process_index()::2]
found = measured.table(own, measured.Counting())
print(json.dumps([found.names, found.values.tolist(), found.labels]))
"""


@pytest.mark.slow
def test_two_hosts_get_the_table_of_one(tmp_path):
  """Two processes over localhost, with uneven shares."""
  program = tmp_path / 'host.py'
  program.write_text(_HOST)
  port = str(20000 + os.getpid() % 20000)
  environment = {
    **cli.environment(),
    'PYTHONPATH': f'{cli.ROOT}:{cli.ROOT / "tests"}',
  }
  for name in ('http_proxy', 'https_proxy'):  # they would catch localhost
    environment.pop(name)
  both = [
    subprocess.Popen(
      [sys.executable, program, port, host],
      stdout=subprocess.PIPE,
      text=True,
      env=environment,
    )
    for host in '01'
  ]
  try:
    said = [one.communicate(timeout=200)[0] for one in both]
  finally:
    for one in both:
      one.kill()
  assert [one.returncode for one in both] == [0, 0]
  want = measured.table(measured.make_clips(7), measured.Counting())
  for text in said:
    names, values, labels = json.loads(text.splitlines()[-1])
    assert tuple(names) == want.names
    assert tuple(labels) == want.labels
    np.testing.assert_array_equal(np.float32(values), want.values)
