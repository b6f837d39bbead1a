"""The measures behind FVD and FD-phys: frames in, labelled features out."""

import evaluations
import i3d_kits
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax import traverse_util

from framebridge_jax.evaluation import cache, fvd, measures, phys
from framebridge_jax.models import motion_reader
from framebridge_jax.porting import weights


def _clips(count=3, frames=11, side=32):
  rng = np.random.default_rng(0)
  videos = rng.integers(0, 256, (count, frames, side, side, 3), np.uint8)
  return [
    measures.Clip(name=str(i), video=video) for i, video in enumerate(videos)
  ]


def _table(one, clips):
  tables = measures.measure(clips, [one], cache=cache.Cache(), batch_size=2)
  return tables[one.name]


@pytest.fixture(scope='module')
def small_i3d(tmp_path_factory):
  params = i3d_kits.parameters(i3d_kits.SMALL)
  path = tmp_path_factory.mktemp('i3d') / 'i3d.safetensors'
  weights.save(
    path,
    {'params': traverse_util.unflatten_dict(params, sep='/')},
    {'model': {'name': 'i3d', 'classes': 11, 'shrink': 8}},
    dtype=np.float32,
    facts={},
  )
  return fvd.make(path), params


@pytest.mark.slow
def test_fvd_s_features_are_logits_of_enlarged_frames(small_i3d):
  one, params = small_i3d
  clips = _clips()
  found = _table(one, clips).column('features')
  variables = {'params': traverse_util.unflatten_dict(params, sep='/')}
  x = fvd.resized(jnp.asarray(np.stack([clip.video for clip in clips])))
  want = tiny.quick_jit(i3d_kits.SMALL.apply)(variables, x)
  np.testing.assert_allclose(found, want, rtol=2e-5, atol=2e-6)


def test_weights_that_are_not_the_published_ones_are_labelled(small_i3d):
  one, _ = small_i3d
  assert one.weights.startswith('not verified with published weights')


def test_fvd_refuses_fewer_than_10_frames(small_i3d):
  with pytest.raises(measures.ClipError, match='9 frames; i3d needs 10'):
    _table(small_i3d[0], _clips(frames=9))


def test_enlarged_frames_are_linear_between_pixel_centres():
  """A ramp of 4 pixels at 224: pixel i of the small has its centre at 56 i."""
  ramp = np.array([0, 80, 160, 240], np.uint8)
  frames = np.tile(ramp[None, None, None, :, None], (1, 1, 4, 1, 3))
  large = np.asarray(fvd.resized(jnp.asarray(frames)))[0, 0, :, :, 0]
  place = np.clip((np.arange(224) + 0.5) / 56 - 0.5, 0, 3)
  np.testing.assert_allclose(
    large, np.tile(80 * place, (224, 1)) / 127.5 - 1, atol=1e-5
  )


def test_frames_are_made_smaller_without_a_blur():
  """As in the public code: four pixels have a say, the others none."""
  rng = np.random.default_rng(0)
  frames = rng.integers(0, 256, (1, 1, 672, 672, 3), np.uint8)
  small = np.asarray(fvd.resized(jnp.asarray(frames)))[0, 0]
  # A third of the size: the centre of every third pixel.
  np.testing.assert_allclose(
    small, frames[0, 0, 1::3, 1::3] / 127.5 - 1, atol=1e-5
  )


@pytest.fixture(scope='module')
def judge(tmp_path_factory):
  path = evaluations.reader(tmp_path_factory.mktemp('judge') / 'j.safetensors')
  return phys.make(path), path


def test_fd_phys_s_columns_are_the_reader_s_logits_and_features(judge):
  one, path = judge
  clips = _clips(frames=16)
  table = _table(one, clips)
  reader = motion_reader.MotionReader()
  x = np.stack([clip.video for clip in clips]).astype(np.float32) / 127.5 - 1
  want = tiny.quick_jit(reader.apply)(weights.load(path).params, x)
  for name in ('logits', 'features'):
    np.testing.assert_allclose(
      table.column(name), getattr(want, name), atol=2e-5
    )
  assert table.column('features').shape == (3, 320)
  assert one.weights.startswith('not the shipped ones')


def test_larger_clips_are_brought_to_the_reader_s_size(judge):
  """Each pixel four times: the mean of four is itself."""
  small = _clips(frames=16)
  large = [
    measures.Clip(name=x.name, video=x.video.repeat(2, 1).repeat(2, 2))
    for x in small
  ]
  want, got = (_table(judge[0], x).values for x in (small, large))
  assert np.abs(got - want).max() < 0.2 * np.abs(want).max()


def test_measures_know_their_weights(judge, tmp_path):
  other = phys.make(evaluations.reader(tmp_path / 'j.safetensors', seed=1))
  again = phys.make(judge[1])
  assert judge[0].digest == again.digest != other.digest


@pytest.mark.parametrize('make', [fvd.make, phys.make])
def test_weights_of_another_network_are_refused(make, tmp_path):
  path = tmp_path / 'w.safetensors'
  weights.save(path, {'a': np.ones(2)}, {}, dtype=np.float32, facts={})
  with pytest.raises(ValueError, match='w.safetensors holds no'):
    make(path)
  with pytest.raises(ValueError, match='no weight file at'):
    make(tmp_path / 'none')


def test_a_motion_reader_tells_colour_from_change():
  """Features of a still clip and of its moving twin differ."""
  reader = motion_reader.MotionReader(widths=(8, 16))
  rng = np.random.default_rng(0)
  frame = rng.uniform(-1, 1, (1, 1, 16, 16, 3)).astype(np.float32)
  still = np.repeat(frame, 8, axis=1)
  moving = np.stack([np.roll(frame[0, 0], t, 1) for t in range(8)])[None]
  variables = tiny.quick_jit(reader.init)(jax.random.key(0), still)
  apply = tiny.quick_jit(reader.apply)
  a, b = (apply(variables, x).features for x in (still, moving))
  assert a.shape == (1, 32)
  assert np.abs(np.asarray(a - b)).max() > 0.05
