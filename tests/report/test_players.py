"""Clips in step: what stands in the page, and that it is the clip."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from framebridge_jax.report import page, players


def _clip(frames=5, side=16, seed=0):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (frames, side, side, 3), np.uint8)


def test_the_picture_is_all_frames_side_by_side_without_loss():
  clip = _clip()
  head, _, data = players.picture(clip).partition(',')
  assert head == 'data:image/webp;base64'
  found = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
  np.testing.assert_array_equal(found, np.concatenate(clip, axis=1))


def test_large_clips_lose_little():
  smooth = np.linspace(0, 255, 128).astype(np.uint8)
  clip = np.tile(smooth[None, None, :, None], (3, 128, 1, 3))
  _, _, data = players.picture(clip).partition(',')
  found = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
  want = np.concatenate(clip, axis=1)
  # Frames meet in a sharp edge, where loss shows most.
  assert np.abs(found.astype(int) - want).mean() < 2


def test_clips_that_are_too_wide_together_are_refused():
  with pytest.raises(ValueError, match='80 frames of 256 pixels are 20480'):
    players.picture(np.zeros((80, 256, 256, 3), np.uint8))


def test_every_clip_has_its_place_in_the_lattice():
  rows = [
    players.Films('one', {'a': _clip(), 'b': _clip(seed=1)}),
    players.Films('two', {'b': _clip(seed=2), 'c': _clip(8, seed=3)}),
  ]
  text = players.lattice(rows)
  labels = re.findall(r'aria-label="(\w+, \w+)"', text)
  assert labels == ['one, a', 'one, b', 'two, b', 'two, c']
  assert text.count('<span></span>') == 3  # the corner, and what is missing
  assert '--methods: 3' in text
  assert '--frames: 8' in text
  assert 'data-frames="8"' in text


def test_names_are_escaped():
  text = players.lattice([players.Films('<b>', {'"x"': _clip()})])
  assert '<b>' not in text
  assert '&quot;x&quot;' in text


def test_a_page_runs_its_own_script_and_no_other():
  text = page.render('t', 's', ['<p>x</p>'], players.SCRIPT)
  (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
  (digest,) = re.findall(r"script-src '(sha256-[^']+)'", policy)
  (script,) = re.findall(r'<script>(.*)</script>', text, re.DOTALL)
  import hashlib

  raw = hashlib.sha256(script.encode()).digest()
  assert digest == f'sha256-{base64.b64encode(raw).decode()}'
  assert "default-src 'none'" in policy
  assert 'script' not in page.render('t', 's', [])
