"""Measures how fast clips are decoded, and that memory stays flat.

  python benchmarks/decoding.py                        # 6 minutes
  python benchmarks/decoding.py --videos /path/to/mp4s --clips 10000

Windows of 16 frames, every third, at 256 pixels, are read from videos of four
kinds.  `bare` is a loop over PyAV in one thread that opens the file, decodes up
to the last frame wanted, and crops and resizes the wanted ones with Pillow;
`ours` reads the same windows of the prepared data set, whose bytes come from
ArrayRecord shards.  They take turns, video by video; CPU seconds are counted,
and a line is the median of the rounds with their range.  `bare / bare` is the
noise: the same loop a second time.  `batches` counts clips that come out of the
pipeline of training, shuffled, with threads and with processes.  At the end
10,000 small windows are read, and the resident set is printed on the way.
"""

import argparse
import io
import pathlib
import sys
import tempfile
import time

import av
import numpy as np
import psutil
import tensorflow_datasets as tfds
from absl import flags
from PIL import Image

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from framebridge_jax.data import pipeline, sources, visits  # noqa: E402

FRAMES, STRIDE, SIZE = 16, 3, 256
KINDS = {  # codec, container, frames, width, height, frames of a group
  'UCF101-like': ('mpeg4', 'avi', 180, 320, 240, 12),
  'WebVid-like': ('libx264', 'mp4', 450, 596, 336, 250),
  '720p': ('libx264', 'mp4', 250, 1280, 720, 60),
  'small': ('libx264', 'mp4', 100, 64, 64, 250),
}


def main() -> None:
  """Prints the tables."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument(
    '--videos', type=pathlib.Path, help='a folder of one kind'
  )
  parser.add_argument('--rounds', type=int, default=5)
  parser.add_argument(
    '--clips', type=int, default=10_000, help='of the last part'
  )
  parser.add_argument('--workers', nargs='*', type=int, default=[0, 2])
  options = parser.parse_args()
  flags.FLAGS.mark_as_parsed()  # grain's workers read absl flags
  tfds.disable_progress_bar()
  with tempfile.TemporaryDirectory() as home:
    home = pathlib.Path(home)
    folders = {'videos': options.videos} if options.videos else _make(home)
    print(
      '| videos | bare clips/s | ours clips/s | ours / bare | bare / bare |'
    )
    print('|---|---|---|---|---|')
    for kind, folder in folders.items():
      bare, ours, again = _compare(_open(folder, home), options.rounds)
      cells = [kind, *map(_told, (bare, ours, ours / bare, again / bare))]
      print(f'| {" | ".join(cells)} |', flush=True)
    first, last = next(iter(folders)), list(folders)[-1]
    for workers in options.workers:
      rate = _batches(_open(folders[first], home), workers)
      print(
        f'batches of {first}: {rate:.2f} clips/s, {workers} workers', flush=True
      )
    _read_many(_open(folders[last], home), options.clips)


def _make(home) -> dict[str, pathlib.Path]:
  """Six videos of each kind: noise of several sizes that drifts."""
  folders = {}
  for kind, how in KINDS.items():
    folders[kind] = home / kind
    for split, count in (('train', 5), ('test', 1)):
      (folders[kind] / split).mkdir(parents=True)
      for i in range(count):
        path = folders[kind] / split / f'{i}.{how[1]}'
        path.write_bytes(_encode(*how, seed=i))
  return folders


def _encode(codec, container_format, frames, width, height, group, *, seed):
  rng = np.random.default_rng(seed)
  ground = np.zeros((2 * height, 2 * width, 3), np.float32)
  for cell in (64, 16, 4):
    small = rng.normal(size=(2 * height // cell + 1, 2 * width // cell + 1, 3))
    ground += (
      20 * np.kron(small, np.ones((cell, cell, 1)))[: 2 * height, : 2 * width]
    )
  ground = np.clip(128 + ground, 0, 255).astype(np.uint8)
  buffer = io.BytesIO()
  with av.open(buffer, 'w', format=container_format) as container:
    stream = container.add_stream(codec, rate=25)
    stream.width, stream.height, stream.pix_fmt = width, height, 'yuv420p'
    stream.codec_context.gop_size = group
    for i in range(frames):
      top, left = i * height // frames, i * width // frames
      part = np.ascontiguousarray(
        ground[top : top + height, left : left + width]
      )
      container.mux(stream.encode(av.VideoFrame.from_ndarray(part)))
    container.mux(stream.encode(None))
  return buffer.getvalue()


def _open(folder, home):
  return sources.open_source(
    'prepared_folder',
    'train',
    data_dir=home / 'prepared',
    path=folder,
    size=SIZE,
    frames=FRAMES,
    stride=STRIDE,
    options={},
  )


def _compare(source, rounds):
  """Clips a second of the bare loop, ours, the bare loop; [rounds] each."""
  rng = np.random.default_rng(0)
  spent = np.zeros((rounds + 1, 3))
  records = source.records
  span = (FRAMES - 1) * STRIDE + 1
  for turn in range(rounds + 1):
    for number in range(len(records)):
      video = records[number]['video']
      start = int(rng.integers(len(video) - span + 1))
      window = range(start, start + span, STRIDE)
      for way in rng.permutation(3):  # who goes first changes
        begin = time.process_time()
        if way == 1:
          pixels = records[number]['video'].read(window, SIZE)
        else:
          pixels = _bare(video.data, window)
        spent[turn, way] += time.process_time() - begin
        assert pixels.shape == (FRAMES, SIZE, SIZE, 3)
  # The first round warms the caches.
  return len(records) / spent[1:].T


def _told(values):
  return f'{np.median(values):.2f} ({values.min():.2f}-{values.max():.2f})'


def _bare(data, window):
  found = []
  with av.open(io.BytesIO(data)) as container:
    stream = container.streams.video[0]
    stream.thread_type = 'NONE'
    for number, frame in enumerate(container.decode(stream)):
      if number in window:
        image = frame.to_image()
        side = min(image.size)
        left, top = ((x - side) // 2 for x in image.size)
        image = image.crop((left, top, left + side, top + side))
        found.append(image.resize((SIZE, SIZE), Image.Resampling.BICUBIC))
      if number == window[-1]:
        return np.stack([np.asarray(image) for image in found])
  raise AssertionError('the window ends behind the video')


def _batches(source, workers, count=20, batch=8):
  look = visits.Look(size=SIZE, frames=FRAMES, stride=STRIDE)
  reading = pipeline.Reading(num_workers=workers)
  with pipeline.batches(
    source, look, seed=0, batch_size=batch, reading=reading
  ) as stream:
    # What lies ready is not counted.
    for _ in range(max(1, workers) * reading.prefetch):
      next(stream)
    begin = time.perf_counter()
    for _ in range(count):
      next(stream)
    return count * batch / (time.perf_counter() - begin)


def _read_many(source, clips):
  process = psutil.Process()
  rng = np.random.default_rng(0)
  records, begin = source.records, time.perf_counter()
  for number in range(clips + 1):
    if number % max(1, clips // 10) == 0:
      rss = process.memory_info().rss / 2**20
      seconds = time.perf_counter() - begin
      print(f'{number} clips read: {rss:.1f} MB, {seconds:.0f} s', flush=True)
    video = records[number % len(records)]['video']
    start = int(rng.integers(len(video) - 45))
    video.read(range(start, start + 46, 3), 64)


if __name__ == '__main__':
  main()
