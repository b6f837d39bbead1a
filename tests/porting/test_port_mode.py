"""--mode=port on files: what it writes, what it refuses, the way back."""

import hashlib
import json
import pathlib

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
import safetensors.numpy
import torch_zip
from flax import traverse_util

from framebridge_jax.cli import port as mode
from framebridge_jax.models import latte
from framebridge_jax.porting import latte as rows
from framebridge_jax.porting import readers, table, weights
from framebridge_jax.recipes import port as recipe

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden'


@pytest.fixture(autouse=True)
def tiny_model(monkeypatch):
  """A size of its own, for the goldens: everything else is the real thing."""
  golden = json.loads(str(np.load(GOLDEN / 'fvdm_tiny_class.npz')['config']))
  size = {
    'patch': golden['patch_size'],
    'width': golden['hidden_size'],
    'depth': golden['depth'],
    'heads': golden['num_heads'],
  }
  monkeypatch.setitem(table.PORTS, 'latte_golden', table.Port('latte', size))
  monkeypatch.setitem(
    latte.MODELS,
    'latte_golden',
    lambda **options: latte.Latte(**size, **options),
  )


def _config(checkpoint, **changes):
  config = recipe.get_config()
  config.checkpoint, config.model = str(checkpoint), 'latte_golden'
  config.frames = 4
  return _changed(config, changes)


def _changed(config, changes):
  config.update(changes)
  return config


def _arrays(path):
  with readers.open_weights(pathlib.Path(path)) as reader:
    return {name: reader.read(name) for name in reader.specs}


def _sha256(path):
  return hashlib.sha256(path.read_bytes()).hexdigest()


ALL = sorted(path.stem for path in GOLDEN.glob('*.pt'))


@pytest.mark.parametrize('name', ALL)
def test_there_and_back_is_the_checkpoint_to_the_bit(tmp_path, name):
  source = GOLDEN / f'{name}.pt'
  mode.run(_config(source), tmp_path / 'there')
  back = _config(tmp_path / 'there/weights.safetensors', back=True)
  mode.run(back, tmp_path / 'back')
  want, got = _arrays(source), _arrays(tmp_path / 'back/pytorch.safetensors')
  assert got.keys() == want.keys()
  for key, x in want.items():
    assert (got[key].dtype, got[key].shape) == (x.dtype, x.shape), key
    assert got[key].tobytes() == x.tobytes(), key
  assert [p.name for p in (tmp_path / 'back').iterdir()] == [
    'pytorch.safetensors'
  ]


def test_a_port_leaves_weights_a_checkpoint_and_a_report(tmp_path):
  source = GOLDEN / 'latte_tiny_class.pt'
  mode.run(_config(source), tmp_path)
  names = {path.name for path in tmp_path.iterdir()}
  assert names == {'weights.safetensors', 'checkpoint', 'port.json'}
  report = json.loads((tmp_path / 'port.json').read_text())
  path = tmp_path / 'weights.safetensors'
  assert report['source_sha256'] == {source.name: _sha256(source)}
  assert report['weights_sha256'] == _sha256(path)
  assert report['layout'] == 'latte'

  loaded = weights.load(path)
  model = dict(loaded.config['model'])
  assert report['model'] == model
  network = latte.MODELS[model.pop('name')](**model)
  flat = traverse_util.flatten_dict(loaded.params['params'], sep='/')
  assert {n: x.shape for n, x in flat.items()} == rows.shapes(
    network, frames=4, grid=loaded.config['grid'], channels=4
  )
  assert report['parameters'] == weights.count(loaded.params)

  arrays = _arrays(source)
  lines = {line['source']: line for line in report['tensors']}
  assert lines.keys() == arrays.keys()
  for name, x in arrays.items():
    line = lines[name]
    assert line['sha256'] == hashlib.sha256(x.tobytes()).hexdigest()
    assert tuple(line['source_shape']) == x.shape
    assert line['dtype'] == 'float32'
    if line['target'] == '(computed)':
      np.testing.assert_array_equal(loaded.tables[name], x)
    else:
      assert tuple(line['target_shape']) == flat.pop(line['target']).shape
  assert not flat

  like = jax.tree.map(np.asarray, loaded.params)
  with ocp.StandardCheckpointer() as checkpointer:
    restored = checkpointer.restore((tmp_path / 'checkpoint').absolute(), like)
  jax.tree.map(np.testing.assert_array_equal, restored, like)


def test_a_second_port_takes_the_place_of_the_first(tmp_path):
  mode.run(_config(GOLDEN / 'latte_tiny_class.pt'), tmp_path)
  mode.run(_config(GOLDEN / 'fvdm_tiny_class.pt'), tmp_path)
  report = json.loads((tmp_path / 'port.json').read_text())
  assert report['layout'] == 'fvdm'
  assert report['weights_sha256'] == _sha256(tmp_path / 'weights.safetensors')
  assert len(list(tmp_path.iterdir())) == 3


def test_bfloat16_is_asked_for_and_halves_the_file(tmp_path):
  source = GOLDEN / 'latte_tiny_uncond.pt'
  mode.run(_config(source), tmp_path / 'a')
  mode.run(_config(source, export_dtype='bfloat16'), tmp_path / 'b')
  full, half = (tmp_path / x / 'weights.safetensors' for x in 'ab')
  assert half.stat().st_size < 0.6 * full.stat().st_size
  with readers.open_weights(half) as reader:
    assert reader.specs['params/patches/bias'].dtype.name == 'bfloat16'


def test_the_state_that_is_named_is_ported(tmp_path):
  arrays = _arrays(GOLDEN / 'latte_tiny_uncond.pt')
  moved = {n: x if 'embed' in n else x + 1 for n, x in arrays.items()}
  states = {'ema': arrays, 'model': {f'module.{n}': moved[n] for n in moved}}
  root, storages = torch_zip.states(states)
  path = torch_zip.write(tmp_path / 'x.pt', root, storages)
  bias = 'params/final/pixels/bias'
  for state, want in (('', arrays), ('ema', arrays), ('model', moved)):
    mode.run(_config(path, state=state), tmp_path / f'out_{state}')
    got = _arrays(tmp_path / f'out_{state}/weights.safetensors')
    np.testing.assert_array_equal(got[bias], want['final_layer.linear.bias'])


def _without(arrays):
  del arrays['blocks.1.mlp.fc1.weight']


def _with_more(arrays):
  arrays['blocks.9.mlp.fc1.weight'] = np.zeros((2, 3), np.float32)


def _bent(arrays):
  x = arrays['blocks.1.mlp.fc1.weight']
  arrays['blocks.1.mlp.fc1.weight'] = np.ascontiguousarray(x.T)


def _nan(arrays):
  arrays['blocks.1.mlp.fc1.weight'] = np.full_like(
    arrays['blocks.1.mlp.fc1.weight'], np.nan
  )


def _whole(arrays):
  x = arrays['blocks.1.mlp.fc1.weight']
  arrays['blocks.1.mlp.fc1.weight'] = x.astype(np.int32)


def _other_table(arrays):
  arrays['pos_embed'] = arrays['pos_embed'][:, ::-1].copy()


@pytest.mark.parametrize('kind', ['pt', 'safetensors'])
@pytest.mark.parametrize(
  ('harm', 'says'),
  [
    (_without, r'blocks.1.mlp.fc1.weight \(\d+, \d+\) is missing'),
    (_with_more, r'blocks.9.mlp.fc1.weight \(2, 3\) .* no part of the model'),
    (_bent, r'blocks.1.mlp.fc1.weight .* is \(\d+, \d+\), but temporal_0/'),
    (_nan, r'blocks.1.mlp.fc1.weight \(\d+, \d+\) .* not finite'),
    (_whole, r'blocks.1.mlp.fc1.weight \(\d+, \d+\) holds int32'),
    (_other_table, 'pos_embed differs by .* from the table'),
  ],
)
def test_a_checkpoint_that_does_not_fit_writes_nothing(
  tmp_path, kind, harm, says
):
  arrays = _arrays(GOLDEN / 'latte_tiny_class.pt')
  harm(arrays)
  path = tmp_path / f'x.{kind}'
  write = torch_zip.save if kind == 'pt' else _save_safetensors
  write(path, arrays)
  with pytest.raises(ValueError, match=says) as error:
    mode.run(_config(path), tmp_path / 'out')
  assert '\n' not in str(error.value)
  assert not (tmp_path / 'out').exists()


def _save_safetensors(path, arrays):
  safetensors.numpy.save_file(arrays, path)


@pytest.mark.parametrize(
  ('changes', 'says'),
  [
    ({'checkpoint': ''}, 'set --config.checkpoint'),
    ({'checkpoint': 'none.pt'}, 'no checkpoint at none.pt'),
    ({'model': 'latte_xl3'}, "model is 'latte_xl3', want one of latte_"),
    ({'model': ''}, "model is '', want one of"),
    (
      {'model': 'latte_s2'},
      "is 'latte_s2', but .* has the shapes of latte_gol",
    ),
    ({'frames': 16}, 'temp_embed has 4 rows, want 16'),
    ({'channels': 3}, '4 channels, want 3'),
    ({'state': 'ema'}, "no state 'ema'; it holds a bare state dict"),
    ({'back': True}, 'is not a whole safetensors file'),
  ],
)
def test_a_wrong_config_is_named_and_writes_nothing(tmp_path, changes, says):
  config = _changed(_config(GOLDEN / 'latte_tiny_class.pt'), changes)
  with pytest.raises(ValueError, match=says) as error:
    mode.run(config, tmp_path / 'out')
  assert '\n' not in str(error.value)
  assert not (tmp_path / 'out').exists()


def test_a_port_that_fails_half_way_leaves_what_was_there(
  tmp_path, monkeypatch
):
  mode.run(_config(GOLDEN / 'latte_tiny_class.pt'), tmp_path)
  before = {x: _sha256(x) for x in tmp_path.rglob('*') if x.is_file()}

  def full(*args, **kwargs):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(mode, '_write_orbax', full)
  with pytest.raises(OSError, match='No space'):
    mode.run(_config(GOLDEN / 'fvdm_tiny_class.pt'), tmp_path)
  after = {x: _sha256(x) for x in tmp_path.rglob('*') if x.is_file()}
  assert after == before


def test_what_a_killed_port_left_goes_with_the_next(tmp_path):
  for pid in (1 << 29, 1 << 30):
    (tmp_path / f'.port.{pid}' / 'checkpoint').mkdir(parents=True)
  mode.run(_config(GOLDEN / 'latte_tiny_class.pt'), tmp_path)
  assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize('name', ['weights.safetensors', 'checkpoint/ema.pt'])
def test_a_file_that_no_port_made_is_not_replaced(tmp_path, name):
  """The source itself may have the name of a result."""
  arrays, path = _arrays(GOLDEN / 'latte_tiny_class.pt'), tmp_path / name
  path.parent.mkdir(exist_ok=True)
  write = torch_zip.save if path.suffix == '.pt' else _save_safetensors
  write(path, arrays)
  before = path.read_bytes()
  says = f'holds {name.partition("/")[0]}, which would be replaced'
  with pytest.raises(ValueError, match=says):
    mode.run(_config(path), tmp_path)
  assert path.read_bytes() == before
  assert len([x for x in tmp_path.rglob('*') if x.is_file()]) == 1


def test_the_report_says_which_state_it_was_and_what_was_passed_over(tmp_path):
  arrays = _arrays(GOLDEN / 'latte_tiny_uncond.pt')
  root, storages = torch_zip.states({'model': arrays, 'ema': arrays})
  root |= {'opt': {'step': 3}, 'args': {'lr': 0.5}}
  path = torch_zip.write(tmp_path / 'x.pt', root, storages)
  for state, want in (('', 'ema'), ('model', 'model')):
    mode.run(_config(path, state=state), tmp_path / want)
    report = json.loads((tmp_path / want / 'port.json').read_text())
    assert report['state'] == want
    assert set(report['skipped']) == root.keys() - {want}
  bare = torch_zip.states({'': arrays})
  root = {**bare[0][''], 'step': 3}
  mode.run(_config(torch_zip.write(path, root, bare[1])), tmp_path / 'bare')
  report = json.loads((tmp_path / 'bare' / 'port.json').read_text())
  assert (report['state'], report['skipped']) == ('', ['step'])


@pytest.mark.parametrize('layout', ['latte', 'fvdm', 'framebridge_prior'])
def test_weights_of_a_run_go_back_and_come_again(tmp_path, layout):
  """They have no tables with them: those of the run's clips are computed."""
  size = table.PORTS['latte_golden'].size
  network = latte.Latte(**size, classes=3)
  shapes = rows.shapes(network, frames=4, grid=4, channels=3)
  rng = np.random.default_rng(0)
  params = {n: rng.normal(size=s).astype(np.float32) for n, s in shapes.items()}
  config = {
    'model': {'name': 'latte_golden', 'classes': 3},
    'data': {'frames': 4, 'size': 4 * size['patch']},
    'codec': 'identity',
  }
  path = tmp_path / 'run.safetensors'
  tree = {'params': traverse_util.unflatten_dict(params, sep='/')}
  weights.save(path, tree, config, dtype='float32', facts={})
  mode.run(_config(path, back=True, layout=layout), tmp_path / 'back')
  named = tmp_path / 'back/pytorch.safetensors'
  arrays = _arrays(named)
  assert {x.dtype.name for x in arrays.values()} == {'float32'}
  shapes = [
    x.shape
    for name, x in arrays.items()
    if name.endswith(('s_embed', 'p_embed'))
  ]
  assert shapes == [(1, 4 * 4, size['width']), (1, 4, size['width'])]
  mode.run(_config(named, channels=3), tmp_path / 'again')
  again = weights.load(tmp_path / 'again/weights.safetensors')
  assert again.config['layout'] == layout
  flat = traverse_util.flatten_dict(again.params['params'], sep='/')
  assert flat.keys() == params.keys()
  for name, x in params.items():
    np.testing.assert_array_equal(flat[name], x)


def test_networks_that_latte_is_not_have_no_way_back(tmp_path):
  path = tmp_path / 'w.safetensors'
  for model, says in (
    ({'name': 'latte_golden', 'anchor': True}, 'one of stem, anchor, stride'),
    (
      {'name': 'latte_golden', 'trained_grid': [4, 8, 8]},
      'trained_grid, which',
    ),
    ({'name': 'unet'}, 'holds a unet, which has no other names'),
  ):
    config = {'model': model, 'frames': 4, 'grid': 4, 'channels': 4}
    weights.save(path, {'a': np.zeros(1)}, config, dtype='float32', facts={})
    with pytest.raises(ValueError, match=says):
      mode.run(_config(path, back=True), tmp_path / 'out')
  assert not (tmp_path / 'out').exists()
