"""The samplers by name."""

import functools

from framebridge_jax.samplers import ancestral, implicit

SAMPLERS = {
  'ancestral': ancestral.Ancestral,
  'dbim': implicit.Implicit,
  'pf_ode': functools.partial(implicit.Implicit, eta=0.0),
}
