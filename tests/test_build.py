"""From a config's words to the things they name, options and all."""

import jax
import numpy as np
import pytest

from configs import quickstart
from framebridge_jax import build, jobs
from framebridge_jax.processes import (
  bridge,
  clocks,
  diffusion,
  discrete,
  fading,
  predictions,
  saf,
  schedules,
  times,
  views,
)
from framebridge_jax.recipes import sample
from framebridge_jax.samplers import heun, implicit, multistep
from framebridge_jax.tasks import generate
from framebridge_jax.training import losses


def _config(**changes):
  config = quickstart.get_config()
  with config.unlocked():
    config.update(sample.get_config())
  config.update_from_flattened_dict(changes)
  return config


def test_the_quickstart_is_the_residual_bridge_of_its_words():
  model = build.make_denoiser(_config())
  assert model.process == bridge.Bridge(
    schedule=schedules.BridgeGmax(b0=0.01, b1=50.0)
  )
  assert model.prediction is predictions.x0
  assert model.view is views.residual
  assert model.clock == clocks.Continuous(scale=1000.0)


def test_an_aligned_denoiser_has_its_teacher_lookup_and_clock():
  model = build.make_denoiser(
    _config(
      **{
        'denoiser.view': 'aligned',
        'denoiser.prediction': 'v',
        'denoiser.teacher': 'table_scaled_linear:snr_shift=3,zero_terminal',
        'denoiser.lookup': 'amplitude_linear:reach=2',
        'denoiser.clock': 'table:entries=500',
      }
    )
  )
  teacher = discrete.Discrete(
    table='scaled_linear', snr_shift=3.0, zero_terminal=True
  )
  lookup = saf.AmplitudeLinear(reach=2.0)
  assert model.view == saf.Aligned(teacher=teacher, lookup=lookup)
  assert model.clock == clocks.Table(entries=500)
  assert model.prediction is predictions.v


@pytest.mark.parametrize(
  ('name', 'schedule', 'want'),
  [
    (
      'diffusion',
      'flow:shift=3',
      diffusion.Diffusion(schedule=fading.Flow(shift=3.0)),
    ),
    (
      'diffusion',
      'edm:T=40',
      diffusion.Diffusion(schedule=schedules.EDM(T=40.0)),
    ),
    ('bridge', 'vp:b1=5', bridge.Bridge(schedule=schedules.VP(b1=5.0))),
    (
      'bridge',
      'table_cosine',
      bridge.Bridge(schedule=discrete.Discrete(table='cosine')),
    ),
  ],
)
def test_processes_stand_on_schedules_with_their_options(name, schedule, want):
  made = build.make_process(
    _config(**{'process.name': name, 'process.schedule': schedule})
  )
  assert made == want


@pytest.mark.parametrize(
  ('text', 'want'),
  [
    ('dbim:eta=0.5', implicit.Implicit(eta=0.5)),
    ('euler', implicit.Implicit(eta=0.0)),
    ('dbim3', multistep.Multistep(order=3)),
    ('heun:churn=0.1,churn_to=0.5', heun.Heun(churn=0.1, churn_to=0.5)),
  ],
)
def test_samplers_have_their_options(text, want):
  assert build.make_sampler(_config(sampler=text)) == want


def test_grids_are_made_for_the_process_and_the_number_of_steps():
  """Karras et al. 2022, Eq. 5, from T to sigma_min in num_steps - 1."""
  config = _config(grid='karras:rho=3,t_min=0.01', num_steps=5)
  process = diffusion.Diffusion(schedule=schedules.EDM())
  got = build.make_grid(config, process)(np.linspace(0, 1, 6))
  high, low = 80 ** (1 / 3), 0.8 ** (1 / 3)
  want = [(high + i / 4 * (low - high)) ** 3 for i in range(5)]
  np.testing.assert_allclose(got, [*want, 0.0], rtol=1e-12)


def test_the_loss_draws_times_and_weighs_as_its_words_say():
  loss = jobs.make_loss(
    _config(
      **{
        'times.draw': 'logit_normal:mean=-0.4',
        'times.coin': 'batch',
        'times.p_frames': 0.5,
        'loss_weight': 'snr:most=9',
      }
    )
  )
  assert loss.times == times.Ptss(
    draw=times.LogitNormal(mean=-0.4),
    coin=times.coin_per_batch,
    p_frames=0.5,
    p_end=0.02,
    t_min=1e-3,
    known_time=0.03,
  )
  assert loss.weight == losses.SnrWeight(floor=4.0, most=9.0)
  own = jobs.make_loss(_config(loss_weight='own_target'))
  assert own.weight == losses.OwnTarget()


def test_configs_of_equal_words_make_equal_denoisers():
  """What lets two runs in one process share a compilation."""
  one, two = (build.make_denoiser(_config()) for _ in range(2))
  assert one == two
  assert hash(one) == hash(two)


def test_a_sample_s_key_is_its_id_s_whatever_the_batch():
  alone, many = generate.sample_keys(3, [7]), generate.sample_keys(3, [1, 7])
  np.testing.assert_array_equal(
    *(jax.random.key_data(keys)[-1] for keys in (alone, many))
  )


@pytest.mark.parametrize(
  ('dataset', 'data_dir', 'places'),
  [
    ('folder', 'a,b', [('folder', 'a,b')]),
    ('ucf101:fold=02', '', [('ucf101', '')]),
    ('ucf101+webvid', 'a,gs://b', [('ucf101', 'a'), ('webvid', 'gs://b')]),
    ('ucf101+webvid', '', [('ucf101', ''), ('webvid', '')]),
    ('folder+folder', 'a,b', [('folder0', 'a'), ('folder1', 'b')]),
  ],
)
def test_each_data_set_has_a_name_of_its_own_and_a_folder(
  dataset, data_dir, places
):
  config = quickstart.get_config()
  config.dataset, config.data_dir = dataset, data_dir
  assert build.data_places(config) == places
