"""The example of docs/porting.md runs, and does what the page says."""

import pathlib
import re

import numpy as np
import pytest
import safetensors.numpy

import pages
from framebridge_jax.porting import rules

PAGE = pathlib.Path('docs/porting.md')
BLOCKS = re.findall(
  r'^```python\n(.*?)^```', pages.said_in(PAGE), re.MULTILINE | re.DOTALL
)


@pytest.fixture
def page(tmp_path, monkeypatch):
  """Names that the blocks leave; their files are in the current folder."""
  monkeypatch.chdir(tmp_path)
  names = {'__name__': 'porting'}
  for i, block in enumerate(BLOCKS):
    exec(compile(block, f'{PAGE} block {i}', 'exec'), names)
  return names


def test_the_example_goes_there_and_back_to_the_bit(page):
  """Numbers land where PyTorch's and flax's layouts say."""
  state, back = page['state'], page['back']
  assert back.keys() == state.keys()
  for name, x in state.items():
    np.testing.assert_array_equal(back[name], x)
  params = safetensors.numpy.load_file('ours.safetensors')
  kernel = params['params/stem/kernel']
  assert kernel[2, 0, 3, 7] == state['conv.weight'][7, 3, 2, 0]
  assert params['params/head/kernel'][6, 4] == state['fc.weight'][4, 6]


def test_the_example_refuses_what_does_not_fit(page):
  state = dict(page['state'], extra=np.zeros(3, np.float32))
  safetensors.numpy.save_file(state, 'more.safetensors')
  with pytest.raises(rules.PortError, match='extra .* is no part of the model'):
    page['port']('more.safetensors')


def test_the_example_is_about_twenty_lines_long():
  longest = max(
    len([line for line in block.splitlines() if line.strip()])
    for block in BLOCKS[1:]
  )
  assert longest <= 22
