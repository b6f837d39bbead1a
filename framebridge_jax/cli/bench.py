"""A protocol opened: its real side, its measures, its cache."""

import dataclasses
import functools
from collections.abc import Iterable, Mapping

import jax
import ml_collections
from absl import logging
from etils import epath

from framebridge_jax.cli import measuring
from framebridge_jax.data import sources
from framebridge_jax.evaluation import (
  cache,
  measures,
  metrics,
  protocols,
  sides,
)
from framebridge_jax.training import hosts

MULTI = 'multi'
# The score that reads the classes of this data set, and of no other.
_CLASSES, _MOTIONS = 'class_accuracy', 'physics_motion'


@dataclasses.dataclass(frozen=True, eq=False)
class Bench:
  """All that scores of a protocol need besides samples.

  Attributes:
    config: checked.
    workdir: where everything goes.
    protocol: the row, with what the config changes of it.
    by_name: its measures, ready to run.
  """

  config: ml_collections.ConfigDict
  workdir: epath.Path
  protocol: protocols.Protocol
  by_name: Mapping[str, measures.Measure]

  @property
  def folder(self) -> epath.Path:
    """Where a result and what belongs to it are written."""
    stem = epath.Path(self.config.weights).stem
    parts = ['evaluation', self.config.protocol, stem]
    return self.workdir / '_'.join(part for part in parts if part)

  @property
  def metrics(self) -> tuple[str, ...]:
    """Names of the scores."""
    return self.protocol.metrics

  @functools.cached_property
  def reader(self) -> sides.Reader:
    """The real clips; their data set is prepared if need be."""
    return self._reader(self.protocol.split)

  @functools.cached_property
  def layout(self) -> sides.Layout:
    """Which of them are for what."""
    return sides.lay_out(
      len(self.reader.source.records),
      real=self.protocol.real,
      samples=self.protocol.samples,
    )

  @functools.cached_property
  def several(self) -> sides.Reader:
    """The split with several true futures of each first frame."""
    return self._reader(MULTI)

  @functools.cached_property
  def cache(self) -> cache.Cache:
    """Numbers of clips that were measured before."""
    return cache.Cache(self._folder / 'features')

  def measure(
    self, clips: Iterable[measures.Clip], names: Iterable[str]
  ) -> dict[str, measures.Table]:
    """Tables of some measures over clips."""
    return measures.measure(
      clips,
      [self.by_name[name] for name in names],
      cache=self.cache,
      batch_size=self.config.batch_size,
    )

  def measures_of(self, real: bool) -> list[str]:
    """Names of the measures behind all metrics, or those with a real side."""
    rows = [metrics.METRICS[name] for name in self.metrics]
    return sorted({row.measure for row in rows if not real or row.real})

  @property
  def _folder(self) -> epath.Path:
    return epath.Path(self.config.real_cache or self.workdir / 'real')

  def _reader(self, split):
    row = sources.parse(self.protocol.dataset)[0]
    with hosts.first_alone('data'):  # it prepares them
      source = sources.open_source(
        row.name,
        split,
        data_dir=self._folder,
        path=self.config.real_dir,
        size=self.protocol.size,
        frames=self.protocol.frames,
        stride=self.protocol.stride,
        options=row.options,
      )
    share = jax.process_index(), jax.process_count()
    return sides.Reader(source=source, protocol=self.protocol, share=share)


def changed(
  config: ml_collections.ConfigDict,
) -> tuple[protocols.Protocol, list[str]]:
  """The protocol of a checked config, and in what it was changed.

  Raises:
    ValueError: a metric that was asked for means nothing on the data set.
  """
  row = protocols.PROTOCOLS[config.protocol]
  changes = {
    'dataset': config.real_set or row.dataset,
    'split': config.split or row.split,
    'real': row.real if config.real < 0 else config.real,
    'samples': row.samples if config.samples < 0 else config.samples,
    'several': row.several if config.several < 0 else config.several,
    'size': config.size or row.size,
  }
  notes = [
    f'{name} is {value!r}, the protocol has {getattr(row, name)!r}'
    for name, value in changes.items()
    if value != getattr(row, name)
  ]
  scores = tuple(config.metrics) or row.metrics
  if _CLASSES in scores and not _has_motions(changes['dataset']):
    reason = (
      f'{_CLASSES} reads classes of motion, and those of '
      f'{changes["dataset"]} are others'
    )
    if config.metrics:
      raise ValueError(f'{reason}; leave it out of metrics')
    scores = tuple(name for name in scores if name != _CLASSES)
    notes.append(f'{reason}: it is left out')
  for note in notes:
    logging.warning('Not as the protocol says: %s', note)
  return dataclasses.replace(row, metrics=scores, **changes), notes


def _has_motions(dataset):
  return sources.parse(dataset)[0].name == _MOTIONS


def open_bench(
  config: ml_collections.ConfigDict,
  workdir: epath.Path,
  protocol: protocols.Protocol,
) -> Bench:
  """Loads the networks of a protocol's scores; data are opened when asked for.

  Raises:
    ValueError: weights are missing, or a metric is unknown.
  """
  names = protocol.metrics
  if protocol.several:
    names = (*names, 'fd_phys')  # its features are what scenes are scored by
  return Bench(
    config=config,
    workdir=workdir,
    protocol=protocol,
    by_name=measuring.make(config, names),
  )
