"""T5 against transformers itself, where it is installed.

Last run with torch 2.13.0 and transformers 5.23.0, whose T5Tokenizer reads a
`spiece.model` with sentencepiece 0.2.3 and protobuf 7.36.2.
"""

import jax.numpy as jnp
import numpy as np
import pytest
import token_kits

from framebridge_jax.cli import port as mode
from framebridge_jax.data import text, text_encoders
from framebridge_jax.models import t5
from framebridge_jax.porting import encoders, table
from framebridge_jax.recipes import port as recipe

pytestmark = pytest.mark.slow

CAPTIONS = ['a cat', '', 'two dogs run on the beach at 3.14', 'the sea ' * 30]
LENGTH = 40


@pytest.fixture(scope='module')
def upstream(tmp_path_factory):
  """A whole T5 with random weights, saved as transformers saves it."""
  torch = pytest.importorskip('torch')
  transformers = pytest.importorskip('transformers')
  config = transformers.T5Config(
    vocab_size=500,
    d_model=48,
    d_kv=8,
    d_ff=80,
    num_layers=3,
    num_heads=5,
    feed_forward_proj='gated-gelu',
    tie_word_embeddings=False,
  )
  torch.manual_seed(0)
  model = transformers.T5ForConditionalGeneration(config).eval()
  folder = tmp_path_factory.mktemp('upstream')
  model.save_pretrained(folder)
  token_kits.t5(folder)
  return model, folder


@pytest.fixture(scope='module')
def ported(upstream, tmp_path_factory):
  _, folder = upstream
  workdir = tmp_path_factory.mktemp('ported')
  config = recipe.get_config()
  config.checkpoint = str(folder / 'model.safetensors')
  config.model = 't5_small'
  with pytest.MonkeyPatch.context() as patch:
    patch.setitem(
      table.PORTS, 't5_small', table.Port('t5', {'max_distance': 128})
    )
    mode.run(config, workdir)
  return workdir / 'weights.safetensors'


def _apart(got, want):
  want = want.detach().numpy()
  return np.abs(got - want).max() / np.abs(want).max()


def test_the_encoder_of_a_whole_model_says_the_same(upstream, ported):
  torch = pytest.importorskip('torch')
  model, _ = upstream
  network, variables, _ = encoders.load(ported, ('t5',))
  ids = np.random.default_rng(0).integers(0, 500, (2, 150)).astype(np.int32)
  mask = np.arange(150) < np.array([[90], [150]])
  got = t5.by_block(network, variables, jnp.asarray(ids), jnp.asarray(mask))
  given = torch.from_numpy(ids), torch.from_numpy(mask).long()
  want = model.encoder(*given).last_hidden_state
  assert _apart(got, want) <= 1e-5


def test_captions_are_embedded_as_its_tokenizer_and_encoder_do(
  upstream, ported, tmp_path
):
  """As CogVideoX calls them: padded, cut off, without a mask."""
  transformers = pytest.importorskip('transformers')
  model, folder = upstream
  tokenizer = transformers.T5Tokenizer.from_pretrained(folder)
  ids = tokenizer(
    CAPTIONS,
    padding='max_length',
    max_length=LENGTH,
    truncation=True,
    return_tensors='pt',
  ).input_ids
  want = model.encoder(ids).last_hidden_state
  encoder = text_encoders.open_encoder(ported, folder, length=LENGTH)
  cache = text.Cache(folder=tmp_path, dtype=np.dtype(np.float32))
  values, _ = text.embed(CAPTIONS, encoder, cache)
  assert _apart(values, want) <= 1e-5
