import numpy as np
import pytest
from PIL import Image

from framebridge_jax.report import sheets

ZOOM = 2
TIMES = (1, 3)


def _rows(count=2, frames=4, size=8):
  rng = np.random.default_rng(0)
  rows = []
  for index in range(count):
    ours, truth = rng.integers(0, 256, (2, frames, size, size, 3), np.uint8)
    rows.append(
      sheets.Row(label=f'digit {index}', given=truth[0], ours=ours, truth=truth)
    )
  return rows


def _place(sheet, frame):
  """Top left corner of the only spot where the enlarged frame stands."""
  large = np.kron(frame, np.ones((ZOOM, ZOOM, 1), np.uint8))
  windows = np.lib.stride_tricks.sliding_window_view(sheet, large.shape)
  (spot,) = np.argwhere((windows[..., 0, :, :, :] == large).all((2, 3, 4)))
  return tuple(spot)


def test_every_frame_stands_once_and_in_reading_order():
  rows = _rows()
  sheet = sheets.contact_sheet(rows, times=TIMES, zoom=ZOOM)
  tops = []
  for row in rows:
    shown = [row.given, *row.ours[list(TIMES)], *row.truth[list(TIMES)]]
    places = [_place(sheet, frame) for frame in shown]
    lefts = [left for _, left in places]
    assert lefts == sorted(lefts)
    assert len({top for top, _ in places}) == 1
    steps = np.diff(lefts)
    assert steps[1] == steps[3], 'frames of a group stand closely'
    assert min(steps[0], steps[2]) > steps[1], 'a gap parts the groups'
    tops.append(places[0][0])
  assert tops == sorted(tops)
  assert tops[0] != tops[1]


def test_only_given_frames_are_outlined():
  row = _rows(1)[0]
  sheet = sheets.contact_sheet([row], times=TIMES, zoom=ZOOM)
  white = np.full(3, 255)
  side = len(row.given) * ZOOM
  for frame, outlined in ((row.given, True), (row.ours[1], False)):
    top, left = _place(sheet, frame)
    ring = (
      sheet[top - 1, left : left + side],
      sheet[top + side, left : left + side],
      sheet[top : top + side, left - 1],
      sheet[top : top + side, left + side],
    )
    for edge in ring:
      assert (edge == edge[0]).all()
      assert (edge[0] != white).any() == outlined


def test_captions_and_labels_leave_ink_inside_the_sheet():
  rows = _rows()
  sheet = sheets.contact_sheet(rows, times=TIMES, zoom=ZOOM)
  top, left = _place(sheet, rows[0].given)
  dark = (sheet < 128).all(axis=-1)
  assert dark[:top].any(), 'captions over the columns'
  assert dark[top : top + 16, : left - 4].any(), 'label beside the row'
  for edge in (sheet[0], sheet[-1], sheet[:, 0], sheet[:, -1]):
    assert (edge == 255).all(), 'nothing touches the border'


@pytest.mark.parametrize(
  ('rows', 'times', 'complaint'),
  [
    ([], (1,), '0 rows and 1 times'),
    (_rows(), (), '2 rows and 0 times'),
    (_rows(), (1, 4), 'shows frame 5 of clips of 4 frames'),
    (_rows(1) + _rows(1, size=6), (1,), r'frames of \(6, 6, 3\)'),
  ],
)
def test_a_sheet_that_cannot_be_drawn(rows, times, complaint):
  with pytest.raises(ValueError, match=complaint):
    sheets.contact_sheet(rows, times=times, zoom=ZOOM)


def test_strip_lays_frames_side_by_side():
  video = _rows(1)[0].truth
  strip = sheets.strip(video)
  assert strip.shape == (8, 4 * 8, 3)
  for index, frame in enumerate(video):
    np.testing.assert_array_equal(strip[:, index * 8 : index * 8 + 8], frame)


def test_png_reads_back_and_leaves_no_partial_file(tmp_path):
  picture = _rows(1)[0].given
  path = tmp_path / 'new folder' / 'strip.png'
  sheets.write_png(path, picture)
  np.testing.assert_array_equal(np.asarray(Image.open(path)), picture)
  assert list(path.parent.iterdir()) == [path]


def test_interrupted_write_keeps_the_old_file(tmp_path, monkeypatch):
  path = tmp_path / 'sheet.png'
  sheets.write_png(path, np.zeros((2, 2, 3), np.uint8))
  before = path.read_bytes()

  def stop(source, target):
    raise KeyboardInterrupt

  monkeypatch.setattr('os.replace', stop)
  with pytest.raises(KeyboardInterrupt):
    sheets.write_png(path, np.ones((2, 2, 3), np.uint8))
  assert path.read_bytes() == before
  assert list(tmp_path.iterdir()) == [path]


def test_a_sheet_of_clips_has_a_row_a_clip_in_its_order():
  rows = [(f'clip {i}', row.ours) for i, row in enumerate(_rows(3))]
  sheet = sheets.sheet_of_clips(rows, zoom=ZOOM)
  places = np.array(
    [[_place(sheet, frame) for frame in video] for _, video in rows]
  )
  tops, lefts = places[..., 0], places[..., 1]
  assert (tops == tops[:, :1]).all()
  assert (np.diff(tops[:, 0]) > 0).all()
  assert (lefts == lefts[:1]).all()
  assert (np.diff(lefts[0]) > 0).all()


def test_clips_of_other_shapes_do_not_share_a_sheet():
  one, two = _rows(2)
  for rows in ([], [('a', one.ours), ('b', two.ours[:2])]):
    with pytest.raises(ValueError, match='a sheet of clips of shapes'):
      sheets.sheet_of_clips(rows, zoom=1)
