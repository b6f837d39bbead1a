"""Which real clips are what, and how they are read."""

import numpy as np
import pytest

from framebridge_jax.data import clips, sources, video_io
from framebridge_jax.evaluation import metrics, protocols, sides
from framebridge_jax.keys import MODES


@pytest.mark.parametrize(
  ('total', 'real', 'samples'), [(20, 10, 10), (30, 8, 12), (4000, 2000, 2000)]
)
def test_the_floor_is_not_on_the_real_side_where_there_are_enough(
  total, real, samples
):
  found = sides.lay_out(total, real=real, samples=samples)
  assert (len(found.real), len(found.floor)) == (real, samples)
  assert not set(found.real) & set(found.floor)
  assert len({*found.real, *found.floor}) == real + samples
  assert found.given is found.floor
  assert found.against is found.real


@pytest.mark.parametrize(('real', 'samples'), [(0, 0), (0, 6), (18, 6)])
def test_else_the_floor_is_one_half_against_the_other(real, samples):
  found = sides.lay_out(20, real=real, samples=samples)
  real, samples = real or 20, samples or 20
  assert len(found.real) == real
  assert not set(found.floor) & set(found.against)
  assert set(found.floor) | set(found.against) == set(found.real)
  assert len(found.floor) == min(real // 2, samples)
  assert list(found.given) == list(found.real[:samples])


def test_the_order_is_mixed_and_always_the_same():
  one, other = (sides.lay_out(50, real=20, samples=20) for _ in 'ab')
  assert list(one.real) == list(other.real) != list(range(20))
  more = sides.lay_out(50, real=25, samples=20)
  assert list(more.real[:20]) == list(one.real)


def test_too_few_clips_are_refused():
  for real, samples, words in (
    (30, 5, 'has 20 clips, the protocol wants 30'),
    (1, 1, 'wants 1'),
    (3, 18, 'leave 1 for the floor'),
    (15, 18, '18 samples want as many first frames; there are 15'),
  ):
    with pytest.raises(ValueError, match=words):
      sides.lay_out(20, real=real, samples=samples)


PROTOCOL = protocols.Protocol(
  dataset='folder',
  split='test',
  frames=4,
  stride=3,
  size=8,
  samples=0,
  real=0,
  metrics=(),
  text='class',
)


class Broken:
  """A video whose frames cannot be decoded."""

  def __len__(self):
    return 40

  def read(self, indices, size):
    raise video_io.VideoError('broken.mp4 is damaged')


def _reader(count=7, broken=(), captions=False, **changes):
  rng = np.random.default_rng(0)
  records = [
    {
      'video': Broken()
      if i in broken
      else clips.Decoded(rng.integers(0, 256, (40, 8, 8, 3), np.uint8)),
      'label': i % 2,
      'caption': f'caption {i}' if captions else '',
      'name': str(i),
      'fps': 24.0,
      **({'scene': i // 3} if changes.get('scenes') else {}),
    }
    for i in range(count)
  ]
  source = sources.Source(records=records, class_names=('cat', 'dog'))
  text = 'caption' if captions else 'class'
  protocol = PROTOCOL.__class__(**{**vars(PROTOCOL), 'text': text})
  share = changes.get('share', (0, 1))
  return sides.Reader(source=source, protocol=protocol, share=share)


def test_windows_have_the_stride_and_belong_to_the_clip():
  reader = _reader()
  found = list(reader.clips(np.arange(7)))
  for i, clip in enumerate(found):
    frames = reader.source.records[i]['video'].pixels
    start = next(s for s in range(40) if (frames[s] == clip.video[0]).all())
    np.testing.assert_array_equal(clip.video, frames[start : start + 12 : 3])
    assert clip.name == f'{i:06}'
    np.testing.assert_array_equal(clip.image, clip.video[0])
  (again,) = reader.clips(np.array([5]))
  np.testing.assert_array_equal(again.video, found[5].video)
  assert reader.fps == 8.0


def test_samples_are_asked_for_the_class_or_the_caption():
  assert next(_reader().given(np.array([1]))).caption == 'dog'
  given = next(_reader(captions=True).given(np.array([4])))
  assert (given.caption, given.label) == ('caption 4', 0)


def test_copies_repeat_the_first_frame():
  (copy,) = _reader().copies(np.array([2]))
  assert (copy.video == copy.image).all()
  assert (copy.truth != copy.video).any()


def test_damaged_clips_are_named_and_left_out(caplog):
  found = [clip.name for clip in _reader(broken=(1, 3)).clips(np.arange(5))]
  assert found == ['000000', '000002', '000004']
  assert 'broken.mp4 is damaged' in caplog.text


def test_hosts_share_the_clips():
  shares = [
    [x.name for x in _reader(share=(host, 3)).clips(np.arange(7))]
    for host in range(3)
  ]
  assert [len(x) for x in shares] == [3, 2, 2]
  assert sorted(sum(shares, [])) == [f'{i:06}' for i in range(7)]
  whole = _reader(share=(1, 3)).whole()
  assert len(list(whole.clips(np.arange(7)))) == 7


def test_a_sample_is_found_by_the_name_of_its_clip():
  reader = _reader()
  found = reader.named('000003')
  (clip,) = reader.clips(np.array([3]))
  np.testing.assert_array_equal(found.image, clip.image)
  for name in ('000007', 'three', '', '-1'):
    assert reader.named(name) is None


def test_futures_of_a_split_are_counted():
  assert sides.futures_of(_reader(6, scenes=True).source) == (2, 3)
  with pytest.raises(ValueError, match='scenes have 1 to 3 futures'):
    sides.futures_of(_reader(7, scenes=True).source)
  with pytest.raises(ValueError, match='one future of each first frame'):
    sides.futures_of(_reader().source)


@pytest.mark.parametrize('name', protocols.PROTOCOLS)
def test_protocols_name_data_and_scores_that_there_are(name):
  protocol = protocols.PROTOCOLS[name]
  (row,) = sources.parse(protocol.dataset)
  assert row.name in sources.DATASETS
  assert set(protocol.metrics) <= metrics.METRICS.keys()
  assert protocol.frames == 16
  assert MODES['evaluate']['protocol'](name) is None


def test_the_papers_protocols_are_there():
  """FrameBridge D.2 and FVDM: 2,048 clips, 16 frames, stride 3, 256 pixels."""
  for name in ('ucf101', 'ucf101_zero_shot'):
    found = protocols.PROTOCOLS[name]
    assert {'fvd', 'is', 'pic'} <= set(found.metrics)
  assert {'fvd', 'cd_fvd', 'clipsim', 'pic'} <= set(
    protocols.PROTOCOLS['msrvtt_zero_shot'].metrics
  )
  papers = [x for name, x in protocols.PROTOCOLS.items() if 'phys' not in name]
  assert len(papers) == 7
  for found in papers:
    assert (found.stride, found.size) == (3, 256)
    assert found.samples in (0, 2048)
