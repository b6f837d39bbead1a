"""The samplers by the names that the field has given them.

Several names are one step: DDPM's posterior is the bridge's ancestral step,
DDIM is DBIM, and Euler's step of the probability flow is both at eta = 0.
"""

import functools

from framebridge_jax.samplers import (
  ancestral,
  euler_maruyama,
  heun,
  implicit,
  multistep,
)

SAMPLERS = {
  'ancestral': ancestral.Ancestral,
  'ddpm': ancestral.Ancestral,
  'ddim': implicit.Implicit,
  'dbim': implicit.Implicit,
  'pf_ode': functools.partial(implicit.Implicit, eta=0.0),
  'euler': functools.partial(implicit.Implicit, eta=0.0),
  'dbim2': functools.partial(multistep.Multistep, order=2),
  'dbim3': functools.partial(multistep.Multistep, order=3),
  'dpmpp_2m': functools.partial(
    multistep.Multistep, order=2, slope_weight=multistep.midpoint
  ),
  'dpmpp_2m_sde': multistep.StochasticMultistep,
  'heun': heun.Heun,
  'ddbm': heun.HybridHeun,
  'euler_maruyama': euler_maruyama.EulerMaruyama,
}
