"""Videos of two kinds: every sampler makes each as often as it should."""

import mixtures
import numpy as np
import pytest
import walks

from framebridge_jax.tasks import plans

QUICK = ('bridge fading',)
OFTEN = ('ancestral', 'heun', 'dpmpp_2m_sde')


@pytest.mark.parametrize(
  'name',
  [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
    for name in walks.CASES
  ],
)
@pytest.mark.parametrize(
  'kind',
  [
    pytest.param(kind, marks=() if kind in OFTEN else pytest.mark.slow)
    for kind in walks.SAMPLERS
  ],
)
def test_weights_of_two_kinds_are_within_two_percent(kind, name):
  """Frames travel together, and one after another.

  A frame that leaves late must take the kind that the first has taken.
  """
  case, sampler = walks.CASES[name], walks.SAMPLERS[kind]
  times = [
    case.time_of_progress(u)
    for u in (plans.progress(100, 2), plans.staggered(200, 2))
  ]
  shares = mixtures.share(case.process, sampler, times, 3000)
  np.testing.assert_allclose(shares, 0.3, atol=0.02)
