"""PyTorch and what stands on it, for slow tests alone."""

import contextlib

import pytest


def torch():
  """PyTorch, or the test is skipped."""
  return pytest.importorskip('torch')


def torchvision():
  """torchvision, also where its compiled part does not fit PyTorch.

  The wheel of PyPI is built for CUDA.  Beside a PyTorch for CPUs its operators
  are missing; nothing here calls one, but it describes some when imported.
  """
  module = torch()
  for name in ('nms', 'qnms'):
    with contextlib.suppress(RuntimeError):  # it is there
      module.library.define(
        f'torchvision::{name}', '(Tensor a, Tensor b, float c) -> Tensor'
      )
  return pytest.importorskip('torchvision')
