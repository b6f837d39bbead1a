"""Caches of latents: what is written, what is read, what is refused."""

import pickle
import signal
import subprocess
import sys
import time

import latent_jobs
import numpy as np
import pytest
from etils import epath
from latent_jobs import LONG, PLAN, SIZE, Videos, encode, job, shrunk

from framebridge_jax.data import latent_checks, latent_shards, latents


@pytest.fixture(scope='module')
def cache(tmp_path_factory):
  folder = tmp_path_factory.mktemp('latents')
  encode(job(folder))
  return folder


def everything(folder):
  records = latents.Records(folder, 'train')
  return [records[i] for i in range(len(records))]


def test_every_frame_of_every_video_is_there_once(cache):
  seen = {}
  for record in everything(cache):
    frames = record['video']
    for i, z in enumerate(frames.read(range(len(frames)), SIZE)):
      key = record['name'], record['start'] + i
      assert key not in seen
      seen[key] = z
  lengths = (5, 20, 9, 17, 4)
  assert sorted(seen) == sorted(
    (f'{v}.mp4', i) for v, n in enumerate(lengths) for i in range(n)
  )
  for (name, i), z in seen.items():
    level = 10 * int(name.split('.')[0]) + i
    want = 0.5 * (level / 127.5 - 1)
    np.testing.assert_allclose(z, want, atol=2e-3)  # float16
    assert (z.dtype, z.shape) == (np.float32, (2, 2, 3))


def test_records_say_where_they_are_from(cache):
  assert latents.Records(cache, 'train').class_names == ('even', 'odd')
  found = {
    (r['name'], r['label'], r['caption'], r['fps']) for r in everything(cache)
  }
  assert found == {(f'{i}.mp4', i % 2, f'video {i}', 8.0) for i in range(5)}


@pytest.mark.parametrize('length', [1, 7, 8, 9, 15, 16, 17, 100])
def test_pieces_cover_a_video_and_are_long_enough(length):
  """A window of `piece` frames fits into each, where it fits at all."""
  parts = latent_shards.pieces_of(length, 8)
  assert [i for a, b in parts for i in range(a, b)] == list(range(length))
  assert min(b - a for a, b in parts) >= min(length, 8)
  assert max(b - a for a, b in parts) < 16


def test_drawn_latents_have_the_encoder_s_spread():
  mean = np.full((1, 64, 64, 4), 0.25, np.float16)
  logvar = np.full_like(mean, np.log(0.04))
  frames = latents.Frames(mean, logvar, scale=0.5, factor=8)
  rng = np.random.default_rng(0)
  z, again = (frames.draw([0], 512, rng) for _ in range(2))
  assert z.dtype == np.float32
  assert abs(np.corrcoef(z.ravel(), again.ravel())[0, 1]) < 0.05
  assert abs(z.mean() - 0.125) < 3e-3
  assert abs(z.std() - 0.5 * 0.2) < 2e-3
  np.testing.assert_allclose(frames.read([0], 512), 0.125)


def test_modes_alone_cannot_be_drawn_from():
  frames = latents.Frames(np.zeros((1, 2, 2, 4), np.float16), None, 1.0, 8)
  with pytest.raises(latents.LatentsError, match='keep=moments'):
    frames.draw([0], 16, np.random.default_rng(0))


def test_clips_of_another_size_are_refused(cache):
  frames = latents.Records(cache, 'train')[0]['video']
  with pytest.raises(ValueError, match=r'clips of 8 pixels .* data.size is 16'):
    frames.read([0], 16)


def test_records_travel_to_worker_processes(cache):
  records = latents.Records(cache, 'train')
  assert records[0]['name'] == '0.mp4'
  again = pickle.loads(pickle.dumps(records))
  assert again[1]['caption'] == records[1]['caption']


def test_hosts_share_shards_and_the_last_one_writes_the_manifest(tmp_path):
  made = job(tmp_path)
  first, none = encode(made, range(0, made.shards, 2))
  assert none is None
  with pytest.raises(latents.LatentsError, match='not encoded to its end'):
    latents.Records(tmp_path, 'train')
  second, manifest = encode(made, range(1, made.shards, 2))
  assert sorted(first + second) == list(range(made.shards))
  assert (manifest['videos'], manifest['frames']) == (5, 55)
  alone = encode(job(tmp_path / 'alone'))[1]
  assert manifest == alone


def test_equal_jobs_write_equal_bytes(tmp_path, cache):
  encode(job(tmp_path))
  for path in sorted(cache.glob('*.array_record')):
    assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_a_damaged_video_is_left_out_and_named(tmp_path, caplog):
  made = job(tmp_path, records=Videos((5, 12, 9), damaged=(1,)))
  _, manifest = encode(made)
  assert manifest['skipped'] == {'1.mp4': 'torn.mp4 is cut off'}
  assert (manifest['videos'], manifest['frames']) == (2, 14)
  assert {r['name'] for r in everything(tmp_path)} == {
    '0.mp4',
    '2.mp4',
  }


def test_texts_are_kept_with_the_clips(tmp_path):
  def make(frames, caption):
    text = np.full((2, 3), len(caption), np.float16)
    return {**shrunk(frames, caption), 'text': text}

  encode(job(tmp_path), make=make)
  record = latents.Records(tmp_path, 'train')[0]
  np.testing.assert_array_equal(record['text'], np.full((2, 3), 7))


def test_killed_thrice_it_goes_on_and_is_whole(tmp_path, cache):
  """No shard is encoded twice, and no frame is there twice."""
  made_at = {}
  for _ in range(3):
    child = subprocess.Popen([sys.executable, latent_jobs.__file__, tmp_path])
    wanted = len(list(tmp_path.glob('*-of-*.json'))) + 1
    while len(list(tmp_path.glob('*-of-*.json'))) < wanted:
      assert child.poll() is None
      time.sleep(0.005)
    child.kill()
    assert child.wait() == -signal.SIGKILL
    for path in tmp_path.glob('*.array_record'):
      if path.with_suffix('.json').exists():
        stamp = path.stat().st_mtime_ns
        assert made_at.setdefault(path.name, stamp) == stamp
  made = job(tmp_path, lengths=LONG)
  done, manifest = encode(made)
  assert 0 < len(done) <= made.shards - 3
  encode(job(tmp_path / 'alone', lengths=LONG))
  alone = latents.read_manifest(epath.Path(tmp_path / 'alone'), 'train')
  assert manifest == alone


def test_a_cache_is_verified_against_its_source(tmp_path):
  made = job(tmp_path)
  encode(made)
  assert latent_checks.verify(made, shrunk, 100) == 0

  def brighter(frames, caption):
    return shrunk(frames // 2 + 128, caption)

  assert latent_checks.verify(made, brighter, 100) > 0.1
  fewer = job(tmp_path, lengths=(5, 20, 9, 3, 4))
  with pytest.raises(latents.LatentsError, match='3.mp4 .* not in the source'):
    latent_checks.verify(fewer, shrunk, 100)


def test_a_bit_that_turned_is_found(tmp_path):
  made = job(tmp_path)
  encode(made)
  raw = bytearray(made.path(2).read_bytes())
  raw[len(raw) // 2] ^= 1
  made.path(2).write_bytes(bytes(raw))
  with pytest.raises(latents.LatentsError, match='00002.* has the digest'):
    latent_checks.verify(made, shrunk, 0)


def test_a_shard_without_its_end_is_encoded_again(tmp_path):
  made = job(tmp_path)
  encode(made)
  made.path(1).write_bytes(made.path(1).read_bytes()[:-10])
  with pytest.raises(latents.LatentsError, match='00001.*the manifest says'):
    latents.Records(tmp_path, 'train')
  done, _ = encode(made)
  assert done == [1]
  latents.Records(tmp_path, 'train')


@pytest.mark.parametrize('key', sorted(PLAN))
def test_another_plan_is_refused_and_named(tmp_path, key):
  encode(job(tmp_path))
  with pytest.raises(latents.LatentsError, match=f"{key}: .* now 'other'"):
    latent_shards.settle(epath.Path(tmp_path), {**PLAN, key: 'other'})


@pytest.mark.parametrize(
  ('file', 'content', 'says'),
  [
    ('plan.json', None, 'no cache of latents'),
    ('plan.json', '{', 'plan.json is damaged'),
    ('plan.json', '{"version": 0}', 'of version 0'),
    ('train.json', None, 'not encoded to its end'),
    ('train.json', '[]1', 'train.json is damaged'),
  ],
)
def test_what_is_no_whole_cache_is_told(tmp_path, file, content, says):
  encode(job(tmp_path))
  (tmp_path / file).unlink()
  if content is not None:
    (tmp_path / file).write_text(content)
  with pytest.raises(latents.LatentsError, match=says):
    latents.Records(tmp_path, 'train')


def test_a_record_of_something_else_is_refused():
  for record in (b'', b'hello', b'\x02' + bytes(7) + b'{}'):
    with pytest.raises(latents.LatentsError, match='holds no latents'):
      latents.unpack(record)


def test_what_is_packed_comes_back():
  arrays = {'mean': np.arange(6, dtype=np.float16).reshape(1, 1, 2, 3)}
  facts = {'caption': 'a "quoted" café\n', 'label': 3}
  piece = latents.unpack(latents.pack(latents.Piece(arrays, facts)))
  assert piece.facts == facts
  np.testing.assert_array_equal(piece.arrays['mean'], arrays['mean'])
