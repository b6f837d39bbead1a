"""The schedules and processes by name."""

import functools

from framebridge_jax.processes import (
  bridge,
  diffusion,
  discrete,
  fading,
  schedules,
)

SCHEDULES = {
  'bridge_gmax': schedules.BridgeGmax,
  'bridge_gconst': schedules.BridgeGconst,
  'vp': schedules.VP,
  've': schedules.VE,
  'edm': schedules.EDM,
  'cosine': fading.Cosine,
  'flow': fading.Flow,
} | {
  f'table_{name}': functools.partial(discrete.Discrete, table=name)
  for name in discrete.TABLES
}
PROCESSES = {'bridge': bridge.Bridge, 'diffusion': diffusion.Diffusion}
