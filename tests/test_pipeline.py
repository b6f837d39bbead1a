"""Sampling from Python, as a user would."""

import json
import logging
import subprocess
import sys

import numpy as np
import pytest
import small_models
from PIL import Image

import framebridge_jax
from framebridge_jax import pipeline as pipelines
from framebridge_jax import sampling
from framebridge_jax.data import video_io
from framebridge_jax.porting import weights

pytestmark = pytest.mark.usefixtures('quick_compilation')
STEPS = {'num_steps': 3}


@pytest.fixture(scope='module')
def file(tmp_path_factory):
  return small_models.save(tmp_path_factory.mktemp('w') / 'small.safetensors')


@pytest.fixture(scope='module')
def pipeline(file):
  """It has taken a wish: that computes a few numbers, and compiles no more."""
  loaded = framebridge_jax.load(file)
  wish = pipelines.Wish([_picture()])
  loaded.desk.take('i2v', wish, sampling.Settings(**STEPS))
  return loaded


def _picture(seed=0, size=small_models.SIZE):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (size, size, 3), np.uint8)


def _clip(frames=small_models.FRAMES, seed=0):
  return np.stack([_picture(seed=seed + i) for i in range(frames)])


def test_a_picture_becomes_a_clip_that_begins_with_it(pipeline):
  video = pipeline.animate(_picture(), label=3, seed=1, **STEPS)
  assert video.frames.shape == (4, 8, 8, 3)
  np.testing.assert_array_equal(video.frames[0], _picture())
  again = pipeline.animate(_picture(), label=3, seed=1, **STEPS)
  np.testing.assert_array_equal(video.frames, again.frames)
  for other in ({'seed': 2}, {'seed': 1, 'sample_id': 1}, {'label': 4}):
    how = {'label': 3, 'seed': 1, **STEPS, **other}
    assert (pipeline.animate(_picture(), **how).frames != video.frames).any()


def test_files_arrays_and_images_are_one_and_the_same(pipeline, tmp_path):
  wide = np.pad(_picture(), ((0, 0), (4, 4), (0, 0)))
  path = tmp_path / 'wide.png'
  Image.fromarray(wide).save(path)
  ways = [wide, path, str(path), Image.fromarray(wide)]
  made = [pipeline.animate(given, **STEPS).frames for given in ways]
  for frames in made:
    np.testing.assert_array_equal(frames, made[0])
  np.testing.assert_array_equal(made[0][0], _picture())


def test_every_task_has_a_method(pipeline):
  a, b, clip = _picture(0), _picture(1), _clip(5)
  lengths = {
    'interpolate': len(pipeline.interpolate(a, b, **STEPS)),
    'keyframes': len(pipeline.keyframes({0: a, 2: b}, **STEPS)),
    'transition': len(pipeline.transition(clip, clip, overlap=1, **STEPS)),
    'loop': len(pipeline.loop(a, **STEPS)),
    'next_frame': len(pipeline.next_frame(clip, **STEPS)),
    'inpaint_time': len(pipeline.inpaint_time(clip, [1, 2], **STEPS)),
    'progressive': len(pipeline.progressive(a, slope=0.3, **STEPS)),
    'edit': len(pipeline.edit(clip, strength=0.4, **STEPS)),
    'some': len(pipeline.edit(clip, strength=[0, 0, 0.3, 1], **STEPS)),
  }
  assert lengths == {
    'interpolate': 4,
    'keyframes': 4,
    'transition': 12,
    'loop': 3,
    'next_frame': 6,
    'inpaint_time': 4,
    'progressive': 4,
    'edit': 4,
    'some': 4,
  }


def test_a_bridge_refuses_to_generate_from_nothing(pipeline, compilations):
  with pytest.raises(ValueError, match='no frame is given.*a diffusion model'):
    pipeline.generate(**STEPS)
  assert not compilations


@pytest.mark.parametrize('rolling', [False, True])
def test_a_picture_goes_on_for_as_long_as_is_asked(pipeline, rolling):
  how = {'overlap': 2, 'rolling': rolling, **STEPS}
  video = pipeline.extend(_picture(), frames=11, **how)
  assert video.frames.shape == (11, 8, 8, 3)
  np.testing.assert_array_equal(video.frames[0], _picture())
  seconds = pipeline.extend(_picture(), seconds=1.1, fps=10, **how)
  np.testing.assert_array_equal(seconds.frames, video.frames)
  stream = pipeline.stream(_picture(), **how)
  frames = np.concatenate([next(stream).frames for _ in range(5)])
  count = min(len(frames), 11)
  np.testing.assert_array_equal(frames[:count], video.frames[:count])


def test_a_made_clip_goes_on_from_its_latents(pipeline):
  """Not from its pixels, whose rounding they do not have."""
  first = pipeline.animate(_picture(), **STEPS)
  longer = pipeline.extend(first, frames=6, overlap=2, **STEPS)
  np.testing.assert_array_equal(longer.latents[:4], first.latents)
  np.testing.assert_array_equal(longer.frames[:4], first.frames)


def test_previews_are_shown_and_cancel_ends_it(pipeline):
  seen = []
  whole = pipeline.animate(_picture(), num_steps=6)
  video = pipeline.animate(
    _picture(), num_steps=6, preview=seen.append, preview_every=2
  )
  np.testing.assert_array_equal(video.frames, whole.frames)
  assert [(x.step, x.num_steps, len(x.video)) for x in seen] == [
    (2, 6, 4),
    (4, 6, 4),
  ]
  np.testing.assert_array_equal(seen[0].video.frames[0], _picture())
  with pytest.raises(pipelines.CancelledError):
    pipeline.animate(
      _picture(), num_steps=6, preview=lambda progress: False, preview_every=2
    )


def test_the_sidecar_makes_the_clip_again(pipeline, file, tmp_path):
  path = tmp_path / 'photo.png'
  Image.fromarray(_picture()).save(path)
  how = {'sampler': 'dbim:eta=0.5', 'guidance': 3.0, 'temperature': 0.9}
  video = pipeline.animate(path, label=3, seed=5, num_steps=4, **how)
  video.save(tmp_path / 'out.mp4')
  facts = json.loads((tmp_path / 'out.json').read_text())
  assert facts['weights']['path'] == str(file)
  assert len(facts['weights']['sha256']) == 64
  assert facts['versions'].keys() >= {'framebridge_jax', 'jax', 'python'}
  assert facts['config']['model']['width'] == 16
  assert facts['given_frames'] == 'given frames come back as they are'

  fresh = framebridge_jax.load(facts['weights']['path'])
  again = fresh.make(
    facts['task'],
    *(x['path'] for x in facts['given']),
    label=facts['label'],
    seed=facts['seed'],
    sample_id=facts['sample_id'],
    **facts['settings'],
  )
  np.testing.assert_array_equal(again.frames, video.frames)
  assert again.facts['weights'] == facts['weights']
  assert again.facts['given'] == facts['given']


def test_a_clip_is_saved_in_three_ways_and_shows_itself(pipeline, tmp_path):
  video = pipeline.animate(_picture(), **STEPS)
  for suffix in ('.mp4', '.gif', '.png'):
    video.save(tmp_path / 'sub' / f'clip{suffix}')
  assert len(video_io.read_video(tmp_path / 'sub' / 'clip.mp4')) == 4
  strip = np.asarray(Image.open(tmp_path / 'sub' / 'clip.png'))
  np.testing.assert_array_equal(strip, np.hstack(list(video.frames)))
  assert repr(video) == '<Video: 4 frames of 8 x 8, 8 fps>'
  page = video._repr_html_()
  assert page.startswith('<video') and 'src="data:video/mp4;base64,' in page
  with pytest.raises(ValueError, match=r"ends in '.avi', want one of .mp4"):
    video.save(tmp_path / 'clip.avi')


REFUSED = [
  ({'label': 10}, 'label is 10, the model has classes 0 to 9'),
  ({'label': -2}, 'label is -2, the model has'),
  ({'negative_label': 12}, 'negative_label is 12, the model has'),
  ({'num_step': 3}, 'num_step is no setting; did you mean num_steps'),
  ({'num_steps': 0}, 'num_steps is 0, want a whole number'),
  ({'sampler': 'ddpmm'}, "sampler is 'ddpmm', want one of ancestral"),
  ({'guidance_history': 2.0}, 'history guidance is 2 on a bridge'),
  ({'frame_stride': 3}, 'stride is 3 and this model hears none'),
  ({'task_prior': 'neural'}, 'this model has no prior_model'),
  ({'known_time': 1.0}, 'known_time is 1'),
]


@pytest.mark.parametrize(('how', 'message'), REFUSED, ids=str)
def test_what_makes_no_sense_is_refused_uncompiled(
  pipeline, how, message, compilations
):
  with pytest.raises(ValueError, match=message):
    pipeline.animate(_picture(), **{**STEPS, **how})
  assert not compilations


@pytest.mark.parametrize(
  ('given', 'message'),
  [
    ('none.png', 'none.png is no file'),
    (np.zeros((8, 8, 3)), r'a picture is float64\[8, 8, 3\], want a path or'),
    (np.zeros((8, 8, 4), np.uint8), r'uint8\[8, 8, 4\]'),
    (np.zeros((0, 8, 8, 3), np.uint8), r'a clip is uint8\[0, 8, 8, 3\]'),
    (7, 'a clip is int, want a path or uint8'),
    (_clip(3), 'i2v takes one picture; number 1 has 3 frames'),
  ],
)
def test_what_is_no_picture_is_refused(pipeline, given, message, compilations):
  with pytest.raises(ValueError, match=message):
    pipeline.animate(given, **STEPS)
  assert not compilations


@pytest.mark.parametrize(
  ('how', 'message'),
  [
    ({}, 'give one of them'),
    ({'frames': 8, 'seconds': 2.0}, 'give one of them'),
    ({'frames': 4}, 'has 4 frames and is to have 4; ask for more'),
    ({'frames': 9, 'overlap': 4}, 'overlap is 4; want 1 to 3'),
  ],
)
def test_a_length_that_makes_no_sense_is_refused(pipeline, how, message):
  how = {'overlap': 2, **STEPS, **how}
  with pytest.raises(ValueError, match=message):
    pipeline.extend(_clip(), **how)


def test_known_frames_that_training_never_met_are_told_of():
  met = small_models.config()
  assert sampling.unmet(met, (0,)) == ''
  assert sampling.unmet(met, (1, 3)) == ''  # `random` is in the mix
  met.task_mix = {'first': 1.0, 'random': 0.0}
  assert 'known frames of first and is given 0 3 of 4' in sampling.unmet(
    met, (0, 3)
  )
  met.process.name = 'diffusion'
  assert sampling.unmet(met, (0, 3)) == ''  # FVDM's own times are enough


def test_known_frames_that_training_never_met_are_told_of_once(
  pipeline, monkeypatch, caplog
):
  monkeypatch.setattr(sampling, 'unmet', lambda config, known: f'{known} new')
  with caplog.at_level(logging.WARNING, 'absl'):
    for _ in range(2):
      pipeline.interpolate(_picture(), _picture(1), **STEPS)
  assert caplog.text.count('interpolate: (0, 3) new') == 1


@pytest.mark.parametrize('dtype', ['bfloat16', 'float16'])
def test_half_precision_computes_nearly_the_same(pipeline, file, dtype):
  half = framebridge_jax.load(file, dtype=dtype)
  how = {'num_steps': 2, 'guidance': 1.0}
  ours, want = (x.animate(_picture(), **how) for x in (half, pipeline))
  np.testing.assert_array_equal(ours.frames[0], want.frames[0])
  off = np.abs(np.asarray(ours.latents) - np.asarray(want.latents))
  assert off.max() > 0
  assert off.mean() < 0.05
  assert ours.facts['dtype'] == dtype


def test_a_gpu_without_bfloat16_computes_in_float16(monkeypatch):
  """Turing's compute capability is 7.5; other devices do not tell theirs."""

  class Device:
    platform = 'gpu'

    def __init__(self, capability):
      self.compute_capability = capability

  trained = small_models.config(dtype='bfloat16')
  for capability, want in (('7.5', 'float16'), ('8.0', 'bfloat16')):
    monkeypatch.setattr(
      sampling.jax, 'devices', lambda c=capability: [Device(c)]
    )
    assert sampling.adapted(trained).dtype == want
    assert sampling.adapted(trained, dtype='float32').dtype == 'float32'
  assert trained.dtype == 'bfloat16'


def test_other_sizes_are_made_with_a_warning_and_wrong_ones_refused(file):
  larger = framebridge_jax.load(file, size=12, frames=6)
  video = larger.animate(_picture(size=12), **STEPS)
  assert video.frames.shape == (6, 12, 12, 3)
  with pytest.raises(ValueError, match='side 10.* patch 4; use 8 or 12'):
    framebridge_jax.load(file, size=10)


def test_a_model_with_one_time_for_all_says_that_it_made_the_first_frame(
  tmp_path,
):
  file = small_models.save(tmp_path / 'one.safetensors', hold_given=False)
  model = framebridge_jax.load(file)
  video = model.animate(_picture(), **STEPS)
  assert (video.frames[0] != _picture()).any()
  assert 'every frame was generated' in video.facts['given_frames']
  with pytest.raises(ValueError, match='one time for all frames'):
    model.edit(_clip(), **STEPS)


def test_a_diffusion_does_the_same_tasks_and_generates(tmp_path):
  file = small_models.save(
    tmp_path / 'diffusion.safetensors',
    process__name='diffusion',
    process__schedule='vp',
    denoiser__view='plain',
    denoiser__prediction='v',
  )
  model = framebridge_jax.load(file)
  assert not model.needs_known
  assert len(model.generate(**STEPS)) == 4
  assert len(model.edit(_clip(), **STEPS)) == 4
  video = model.interpolate(_picture(0), _picture(1), **STEPS)
  np.testing.assert_array_equal(video.frames[-1], _picture(1))


def test_a_place_without_a_model_is_refused(tmp_path):
  with pytest.raises(ValueError, match='neither the workdir of a run nor'):
    framebridge_jax.load(tmp_path / 'none')
  with pytest.raises(ValueError, match=r'holds no run \(no config.json\)'):
    framebridge_jax.load(tmp_path)


def test_weights_of_another_job_or_version_are_refused(tmp_path):
  params = {'params': {'w': np.zeros(2, np.float32)}}
  for config, message in (
    ({'job': 'digit_reader'}, "job 'digit_reader'; only a denoiser animates"),
    ({'job': 'denoiser', 'model': {'name': 'latte'}}, 'another version.*codec'),
  ):
    path = tmp_path / 'w.safetensors'
    weights.save(path, params, config, dtype='float32', facts={})
    with pytest.raises(ValueError, match=message):
      framebridge_jax.load(path)


def test_importing_the_package_does_not_import_the_pipeline():
  code = (
    'import sys, framebridge_jax; framebridge_jax.load; '
    "print('framebridge_jax.pipeline' in sys.modules)"
  )
  done = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  )
  assert done.stdout.strip() == 'False'
