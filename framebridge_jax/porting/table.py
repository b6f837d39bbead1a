"""The networks whose checkpoints can be ported, and how."""

from framebridge_jax.models import latte

# Sizes alone: the rest is read off the checkpoint (`porting.latte.look`).
PORTS = {
  f'latte_{size}{patch}': {'patch': patch, **numbers}
  for size, numbers in latte.SIZES.items()
  for patch in (2, 4, 8)
}
