import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from framebridge_jax.report import drawing, heatmap

HOSTILE = '<script>"a" & \'b\''


@pytest.mark.parametrize(
  ('low', 'high', 'log', 'expected'),
  [
    (0.0, 10.0, False, [0, 2, 4, 6, 8, 10]),
    (0.13, 0.48, False, [0.2, 0.3, 0.4]),
    (0.015, 0.4, True, [0.02, 0.05, 0.1, 0.2]),
    (1e-4, 1.0, True, [1e-4, 1e-3, 1e-2, 1e-1, 1.0]),
  ],
)
def test_ticks_are_round(low, high, log, expected):
  np.testing.assert_allclose(
    drawing.ticks(low, high, log=log), expected, atol=1e-12
  )


def test_words_and_names_of_groups_are_escaped():
  marks = drawing.group([drawing.words(1, 2, HOSTILE)], column=HOSTILE)
  root = ElementTree.fromstring(
    drawing.picture(10, 20, about=HOSTILE, body=marks)
  )
  (text,) = root.findall('.//{*}text')
  (group,) = root.findall('.//{*}g')
  assert text.text == HOSTILE
  assert group.get('data-column') == HOSTILE
  assert root.get('aria-label') == HOSTILE


@pytest.mark.parametrize('paint', drawing.COLOURS.values())
@pytest.mark.parametrize('paper', ['#ffffff', '#0d1117', '#000000'])
def test_a_picture_alone_is_seen_on_light_and_dark(paint, paper):
  """3:1 is what WCAG 2.1 (1.4.11) asks of graphics."""
  bright, dark = sorted([luminance(paint), luminance(paper)], reverse=True)
  assert (bright + 0.05) / (dark + 0.05) >= 3


def test_heat_grows_darker_at_an_even_pace():
  shades = [luminance(heatmap.colour(x)) for x in np.linspace(0, 1, 101)]
  lightness = 116 * np.cbrt(shades) - 16  # CIE L*, above its linear toe
  assert (np.diff(lightness) < 0).all()
  even = np.linspace(lightness[0], lightness[-1], 101)
  assert np.abs(lightness - even).max() < 3


def luminance(paint):
  """Relative luminance of '#rrggbb' (WCAG 2.1)."""
  channels = np.frombuffer(bytes.fromhex(paint[1:]), np.uint8) / 255
  linear = np.where(
    channels <= 0.03928, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4
  )
  return float(linear @ [0.2126, 0.7152, 0.0722])
