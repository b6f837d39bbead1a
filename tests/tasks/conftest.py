"""Sampling compiles much and computes little here."""

import pytest


@pytest.fixture(autouse=True, scope='module')
def quick(quick_compilation):
  """For every module."""
