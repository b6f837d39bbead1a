"""Every process of the tables beside the closed forms of its schedule."""

import walks

import oracles
from framebridge_jax.processes import bridge, diffusion

CASES = {
  f'bridge-{name}': walks.Case(bridge.Bridge(schedule=closed.schedule), closed)
  for name, closed in oracles.BRIDGES.items()
} | {
  f'diffusion-{name}': walks.Case(
    diffusion.Diffusion(schedule=closed.schedule), closed
  )
  for name, closed in oracles.CLOSED.items()
}
