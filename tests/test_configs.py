"""The papers' recipes at full size: they pass, in shape, with all arguments.

Nothing of that size is computed.
"""

import json
import math
import pathlib
import re

import jax
import jax.numpy as jnp
import pytest

from framebridge_jax import arrays, build, check, jobs
from framebridge_jax.cli import configs
from framebridge_jax.porting import weights

ROOT = pathlib.Path(__file__).parents[1]
MANIFESTS = ROOT / 'tests/golden/manifests'
# Trainable parameters of the public code at 16 frames of 32 x 32 x 4 with
# learned variance: unconditional, and with 101 classes.
LATTE = {
  's': (32_480_672, 32_519_840),
  'b': (129_547_040, 129_625_376),
  'l': (456_815_648, 456_920_096),
  'xl': (673_681_568, 673_799_072),
}


def _count(name):
  """Trainable parameters of a manifest: all but the two fixed tables."""
  shapes = json.loads((MANIFESTS / f'{name}.json').read_text())
  return sum(
    math.prod(shape)
    for tensor, shape in shapes.items()
    if tensor.rpartition('.')[2] not in ('pos_embed', 'temp_embed')
  )


F = _count('framebridge_latte_s2_nwarp')
PLAIN = _count('framebridge_latte_s2_bridge')
SHOWN = _count('framebridge_latte_s2_bridge_np')

# Recipe with arguments -> parameters of the network, and of F beside it.
CASES = {
  'latte.py': (LATTE['xl'][1], 0),
  **{
    f'latte.py:size={size},classes={classes}': (LATTE[size][bool(classes)], 0)
    for size in LATTE
    for classes in (0, 101)
  },
  'fvdm.py': (LATTE['b'][1], 0),
  **{
    f'fvdm.py:data={data},size={size},p=0.5': (LATTE[size][labelled], 0)
    for data, size, labelled in (
      ('faceforensics', 's', 0),
      ('sky', 'xl', 0),
      ('ucf101', 'l', 1),
      ('taichi', 'b', 0),
    )
  },
  'fvdm.py:coin=batch,p=0': (LATTE['b'][1], 0),
  'neural_prior_ucf101.py': (F, 0),
  'neural_prior_ucf101.py:rate=1e-5': (F, 0),
  'framebridge_ucf101.py': (SHOWN, 0),
  'framebridge_ucf101.py:layout=code': (PLAIN, 0),
  'framebridge_ucf101.py:prior=gaussian': (PLAIN, 0),
  'framebridge_ucf101.py:prior=gaussian,f=true': (SHOWN, F),
  'framebridge_ucf101.py:prior=replicate,f=true': (SHOWN, F),
  'framebridge_ucf101.py:prior=neural': (SHOWN, F),
  'framebridge_ucf101.py:prior=neural,layout=code,rate=1e-5': (SHOWN, F),
  'vdt_i2v_ucf101.py': (PLAIN, 0),
  'vdt_i2v_ucf101.py:rate=1e-5': (PLAIN, 0),
  **{
    f'framebridge_saf_latte.py:arm={arm},steps={steps}': (LATTE['xl'][1], 0)
    for arm, steps in (
      ('diffusion', 10_000),
      ('bridge', 10_000),
      ('bridge', 5_000),
      ('saf', 5_000),
    )
  },
}
# Arguments that change a size of which no count is published.
OTHERS = [
  'latte.py:size=s,patch=4',
  'latte.py:size=s,patch=8',
  'fvdm.py:size=s,patch=4',
  'neural_prior_ucf101.py:size=b,classes=10',
  'framebridge_ucf101.py:prior=neural,size=b,classes=10',
  'vdt_i2v_ucf101.py:size=b,classes=10',
]


def _load(recipe, tmp_path):
  config = configs.load_recipe(str(ROOT / 'configs' / recipe))
  config.data_dir = 'latents'
  if 'prior_model' in config:
    prior = tmp_path / 'f.safetensors'
    prior.write_bytes(b'')
    config.prior_from = str(prior)
  return config


def _shapes(config):
  """Checked, made and differentiated in shape, at a batch of two."""
  check.check_train(config)
  params = jobs.abstract_params(config)
  batch = {
    'video': jax.ShapeDtypeStruct((2, 16, 32, 32, 4), jnp.float32),
    'label': jax.ShapeDtypeStruct((2,), jnp.int32),
  }
  keys = jax.eval_shape(
    lambda: arrays.sample_keys(jax.random.key(0), jnp.arange(2))
  )
  loss = jobs.make_loss(config)
  (value, metrics), grads = jax.eval_shape(
    jax.value_and_grad(loss, has_aux=True), params, batch, keys
  )
  assert (value.shape, value.dtype) == ((), jnp.float32)
  like = jax.tree.map(lambda x: (x.shape, x.dtype), params)
  assert jax.tree.map(lambda x: (x.shape, x.dtype), grads) == like
  return params, metrics


@pytest.mark.parametrize('recipe', CASES)
def test_a_recipe_has_the_parameters_of_the_public_code(recipe, tmp_path):
  config = _load(recipe, tmp_path)
  check.check_train(config)
  params = jobs.abstract_params(config)
  counts = (
    weights.count(params['params']),
    weights.count(params.get('prior', {})),
  )
  assert counts == CASES[recipe]


# Recipes whose arguments are listed in a line of their docstring.
WITH_ARGUMENTS = [
  x for x in sorted(ROOT.glob('configs/*.py')) if 'Arguments:' in x.read_text()
]
# Tracing a loss takes seconds: one of every kind, and not of every size.
TRACED = [
  'fvdm.py:size=s',
  'neural_prior_ucf101.py',
  'framebridge_ucf101.py',
  'framebridge_ucf101.py:layout=code',
  'framebridge_ucf101.py:prior=gaussian,f=true',
  'framebridge_ucf101.py:prior=neural',
  'vdt_i2v_ucf101.py',
  'framebridge_saf_latte.py:arm=diffusion',
  'framebridge_saf_latte.py:arm=bridge',
  'framebridge_saf_latte.py:arm=saf',
  'latte.py:size=s,patch=8',
]


@pytest.mark.parametrize('recipe', TRACED)
def test_a_recipe_s_loss_and_gradient_have_their_shapes(recipe, tmp_path):
  config = _load(recipe, tmp_path)
  _, metrics = _shapes(config)
  # Sizes with a learned variance have its bits in their loss.
  learned = config.model.get('learned_variance', False)
  assert ('variance_bits' in metrics) == learned


@pytest.mark.parametrize('recipe', OTHERS)
def test_other_sizes_pass_too(recipe, tmp_path):
  config = _load(recipe, tmp_path)
  check.check_train(config)
  assert weights.count(jobs.abstract_params(config)) > 0


def test_every_recipe_of_the_papers_is_tested_here():
  judges = {'digit_reader.py', 'motion_reader.py'}
  ours = {'quickstart.py', 'saf_digits.py', *judges}
  found = {x.name for x in (ROOT / 'configs').glob('*.py')} - {'__init__.py'}
  assert {case.partition(':')[0] for case in CASES} == found - ours
  assert {case.partition(':')[0] for case in TRACED} == found - ours
  listed = {x.name for x in WITH_ARGUMENTS}
  assert listed == found - {'quickstart.py', *judges}


@pytest.mark.parametrize('recipe', WITH_ARGUMENTS, ids=lambda x: x.stem)
def test_arguments_are_those_that_the_recipe_names(recipe):
  """`Arguments: a, b (...).` of its docstring, and no other."""
  with pytest.raises(ValueError, match=r"'siez' is unknown; known: ") as error:
    configs.load_recipe(f'{recipe}:siez=1')
  known = str(error.value).partition('known: ')[2].split(', ')
  (said,) = re.findall(r'"""Arguments: (.*?)\.(?:"|\n)', recipe.read_text())
  assert re.sub(r' \(.*?\)', '', said).split(', ') == known


@pytest.mark.parametrize(
  ('recipe', 'says'),
  [
    ('fvdm.py:data=kinetics', 'data=kinetics: want one of facef'),
    ('framebridge_ucf101.py:prior=blend', 'prior=blend: want one of gaussian'),
    ('framebridge_ucf101.py:layout=own', 'layout=own: want paper or code'),
    ('framebridge_ucf101.py:rate=slow', 'rate=slow: want float'),
    ('framebridge_saf_latte.py:arm=bold', 'arm=bold: want one of diffusion'),
    ('saf_digits.py:arm=diffusion', 'arm=diffusion: want one of teacher'),
    ('latte.py:classes=many', 'classes=many: want int'),
  ],
)
def test_values_that_a_recipe_does_not_know_are_refused(recipe, says):
  with pytest.raises(ValueError, match=says):
    configs.load_recipe(str(ROOT / 'configs' / recipe))


@pytest.mark.parametrize('recipe', ['latte.py:size=m', 'fvdm.py:patch=3'])
def test_sizes_that_there_are_not_are_refused_by_the_check(recipe, tmp_path):
  with pytest.raises(check.ConfigError, match=r'model.name is .* want one of'):
    check.check_train(_load(recipe, tmp_path))


def test_layouts_other_than_the_paper_s_are_refused_for_every_prior():
  for argument in ('prior=neural,layout=own', 'f=true,layout=own'):
    recipe = ROOT / 'configs/framebridge_ucf101.py'
    with pytest.raises(ValueError, match='layout=own'):
      configs.load_recipe(f'{recipe}:{argument}')


@pytest.mark.parametrize('recipe', ['latte.py', 'fvdm.py:coin=batch'])
def test_latte_s_settings_are_those_of_the_public_code(recipe, tmp_path):
  config = _load(recipe, tmp_path)
  optimizer = config.optimizer
  assert (optimizer.learning_rate, optimizer.weight_decay) == (1e-4, 0)
  assert (optimizer.schedule, config.ema_decays) == ('constant', (0.9999,))
  data = config.data
  assert (data.frames, data.stride, data.size) == (16, 3, 256)
  assert config.label_dropout == 0.1
  assert config.process.schedule == 'table_linear'
  assert (config.denoiser.prediction, config.denoiser.clock) == ('eps', 'table')
  assert config.times.coin == ('batch' if 'coin' in recipe else 'sample')


@pytest.mark.parametrize('patch', [2, 4, 8])
@pytest.mark.parametrize('recipe', ['latte.py', 'fvdm.py'])
def test_size_and_patch_name_the_network(recipe, patch, tmp_path):
  config = _load(f'{recipe}:size=l,patch={patch}', tmp_path)
  assert config.model.name == f'latte_l{patch}'


@pytest.mark.parametrize(
  'recipe', [x for x in CASES if x.startswith(('framebridge_', 'vdt_'))]
)
def test_an_image_is_a_condition_and_a_frame_before_the_clip(recipe, tmp_path):
  config = _load(recipe, tmp_path)
  assert not config.hold_given
  assert config.model.image_frame
  assert config.task_mix.to_dict() == {'first': 1.0}


def test_the_papers_numbers_are_in_their_recipes(tmp_path):
  fvdm = _load('fvdm.py:p=0.8', tmp_path)
  assert (fvdm.times.p_frames, fvdm.train.batch_size) == (0.8, 4)
  assert fvdm.train.num_steps == 250_000
  np = _load('framebridge_ucf101.py:prior=neural,rate=1e-5', tmp_path)
  assert np.optimizer.learning_rate == 1e-5
  assert np.optimizer.freeze == '^prior/'
  assert (np.train.num_steps, np.train.batch_size) == (400_000, 40)
  assert not np.hold_given
  prior = _load('neural_prior_ucf101.py', tmp_path)
  assert prior.train.batch_size == 32
  saf = _load('framebridge_saf_latte.py:arm=saf,steps=7', tmp_path)
  assert saf.train.num_steps == 7
  assert saf.denoiser.teacher == 'table_linear'


@pytest.mark.parametrize('arm', ['teacher', 'bridge', 'saf'])
def test_the_digits_of_saf_pass_at_their_own_size(arm):
  config = configs.load_recipe(f'{ROOT}/configs/saf_digits.py:arm={arm}')
  check.check_train(config)
  # Ours: width 128, depth 6; one network for teacher and students.
  network = build.make_network(config.model, config.dtype)
  assert (network.width, network.depth, network.patch) == (128, 6, 4)
  assert not network.prior
  assert config.optimizer.freeze == ''
