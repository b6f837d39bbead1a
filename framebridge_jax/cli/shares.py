"""Work that several hosts take in parts, without a word to each other."""

import os

import ml_collections

from framebridge_jax.training import hosts


def of(config: ml_collections.ConfigDict) -> tuple[int, int]:
  """Which host this is, from 0, and of how many.

  `config.host` and `config.hosts` say so; where they are -1, the environment
  does (`hosts.place`).

  Raises:
    ValueError: there is no such host among so many.
  """
  place = hosts.place(os.environ)
  index, count = (place.index, place.count) if place else (0, 1)
  host = index if config.host < 0 else config.host
  total = count if config.hosts < 0 else config.hosts
  if not 0 <= host < total:
    raise ValueError(
      f'host is {host} of {total} hosts, which are numbered from 0; set both, '
      f'or neither'
    )
  return host, total
