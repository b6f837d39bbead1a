"""Every sampler on correlated Gaussian videos, whose moments are known.

All plans of a sampler over a process run as one batch, once.  The default
suite holds three processes that differ in kind; all of them are held by

  pytest -m 'slow or not slow' tests/samplers
"""

import functools

import numpy as np
import pytest
import walks

from framebridge_jax.samplers import euler_maruyama, heun

QUICK = (
  'diffusion edm',
  'bridge bridge_gmax',
  'bridge fading',
)
SAMPLERS = walks.SAMPLERS | walks.VARIANTS
INSIDE = (32, 64, 128)


def _cases():
  """Every pair of a process and a sampler; the variants are quick on one."""
  for name in walks.CASES:
    for kind in SAMPLERS:
      rows = QUICK if kind in walks.SAMPLERS else QUICK[-1:]
      marks = () if name in rows else pytest.mark.slow
      yield pytest.param(name, kind, marks=marks)


cases = pytest.mark.parametrize(('name', 'kind'), list(_cases()))


@functools.cache
def _ends(name, kind):
  """Moments found and wanted, by task and steps; None is inside (0, T)."""
  case = walks.CASES[name]
  whole = {
    (task, steps): walks.whole(case, task, steps)
    for task in walks.KNOWN
    for steps in ((96, 192) if task == 'staggered' else (48, 96))
  }
  plans = whole | {(None, n): walks.inside(case, n) for n in INSIDE}
  found = walks.moments(case, SAMPLERS[kind], list(plans.values()))
  return {
    key: (mean, cov, plan)
    for key, plan, mean, cov in zip(plans, plans.values(), *found, strict=True)
  }


def _error(mean, cov, plan):
  return max(np.abs(mean - plan.mean).max(), np.abs(cov - plan.cov).max())


@cases
@pytest.mark.parametrize('task', walks.KNOWN)
def test_samples_converge_to_the_true_conditional(task, name, kind):
  """From T to 0, whose end steps leave 1e-4 of any sampler's error.

  Errors fall as 1 / steps^order, so that two step counts give the limit.
  """
  order = SAMPLERS[kind].order
  rough, fine = (96, 192) if task == 'staggered' else (48, 96)
  ends = _ends(name, kind)
  (mean0, cov0, _), (mean, cov, plan) = ends[task, rough], ends[task, fine]
  weight = 1 / (2**order - 1)
  limit = mean + weight * (mean - mean0), cov + weight * (cov - cov0)
  assert _error(mean, cov, plan) < (0.1 if order == 1 else 4e-3)
  assert _error(*limit, plan) < (0.013 if order == 1 else 7e-4)
  known = list(walks.KNOWN[task])
  np.testing.assert_array_equal(mean[known], walks.VALUES[known])
  assert not cov[known].any()


@cases
def test_mean_is_exact_in_any_number_of_steps(name, kind):
  """The exact denoiser, asked at the mean, answers with the mean.

  Euler-Maruyama alone leaves that path: its steps are straight in time.
  """
  exact = not kind.startswith('euler_maruyama')
  for mean, _, plan in _ends(name, kind).values():
    np.testing.assert_allclose(mean, plan.mean, atol=1e-10 if exact else 0.03)


@cases
def test_order_inside_the_ends_is_the_declared_one(name, kind):
  """From an exact draw at times above to times below, per frame."""
  ends = _ends(name, kind)
  errors = [_error(*ends[None, steps]) for steps in INSIDE]
  orders = np.log2(np.divide(errors[:-1], errors[1:]))
  np.testing.assert_allclose(orders[-1], SAMPLERS[kind].order, atol=0.13)
  limit = {1: 0.06, 2: 1e-3, 3: 3e-5}[SAMPLERS[kind].order]
  assert errors[-1] < limit


def test_three_step_sampler_from_a_cold_start_is_of_second_order():
  """What its graded first steps are for."""
  case = walks.CASES['diffusion vp']
  plans = [walks.inside(case, n, grading=1) for n in INSIDE]
  found = walks.moments(case, SAMPLERS['dbim3'], plans)
  errors = [_error(*end) for end in zip(*found, plans, strict=True)]
  orders = np.log2(np.divide(errors[:-1], errors[1:]))
  np.testing.assert_allclose(orders[-1], 2, atol=0.25)


@pytest.mark.parametrize('name', ['diffusion edm', 'bridge bridge_gmax'])
def test_churned_heun_is_of_second_order_where_churn_falls_with_the_steps(name):
  """EDM's gamma = S_churn / num_steps."""
  case, errors = walks.CASES[name], []
  for steps in INSIDE[1:]:
    plan = walks.inside(case, steps)
    mean, cov = walks.moments(case, heun.Heun(churn=2 / steps), [plan])
    errors.append(_error(mean[0], cov[0], plan))
  np.testing.assert_allclose(np.log2(errors[0] / errors[1]), 2, atol=0.15)
  assert errors[-1] < 2e-3


@pytest.mark.parametrize('scale', [0.0, 0.5, 1.5])
def test_every_noise_scale_of_euler_maruyama_keeps_the_marginal(scale):
  """All of them solve for the same marginals (1 is a row of the table)."""
  sampler = euler_maruyama.EulerMaruyama(noise_scale=scale)
  case = walks.CASES['bridge fading']
  plans = [walks.inside(case, n) for n in INSIDE]
  found = walks.moments(case, sampler, plans)
  errors = [_error(*end) for end in zip(*found, plans, strict=True)]
  np.testing.assert_allclose(np.log2(errors[-2] / errors[-1]), 1, atol=0.13)
  assert errors[-1] < 0.03
