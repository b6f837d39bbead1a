"""Prints how far each encoder is from its authors' code, on golden arrays.

  python benchmarks/parity.py

Every network is ported from its golden checkpoint (random weights of the real
architecture, tiny) through the tables of `--mode=port`, and told what its
authors' PyTorch code was told, all in float32.  Errors and tolerances are of
the largest number of an output; so is the noise floor, the distance of the
authors' own float32 from their float64, where it was recorded.  Seconds.
"""

import functools
import pathlib
import sys
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

ROOT = pathlib.Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'tests')]

import ports  # noqa: E402

from framebridge_jax.models import clip_pixels, vae_kl  # noqa: E402
from framebridge_jax.porting import table  # noqa: E402

# Largest absolute distances of float32 from float64, from the recording.
FLOORS = {
  ('autoencoder_kl_tiny', 'moments'): 1.4e-6,
  ('autoencoder_kl_tiny', 'decoded'): 2.1e-6,
  ('clip_text_tiny', 'last_hidden_state'): 1.4e-6,
  ('t5_encoder_tiny', 'out_nomask'): 2.7e-5,
}


class Case(NamedTuple):
  """An output of a golden, and how ours is had."""

  golden: str
  output: str
  family: str
  call: object
  tolerance: float = 1e-5
  weights: str = ''


def main() -> None:
  """Prints a table."""
  print('| network | golden | output | error | tolerance | noise floor |')
  print('|---|---|---|---|---|---|')
  for case in CASES:
    want = np.load(ports.GOLDEN / f'{case.golden}.npz')[case.output]
    error = ports.apart(got(case), want)
    floor = FLOORS.get((case.golden, case.output))
    shown = f'{floor / np.abs(want).max():.1e}' if floor else ''
    row = [f'`{case.family}`', f'`{case.golden}`', f'`{case.output}`']
    row += [f'{error:.1e}', f'{case.tolerance:.0e}', shown]
    print('|', ' | '.join(row), '|', flush=True)


def got(case: Case) -> np.ndarray:
  """What ours says."""
  network, variables = None, {}
  if case.family in table.FAMILIES:
    network, variables = ported(case.weights or case.golden, case.family)
  arrays = dict(np.load(ports.GOLDEN / f'{case.golden}.npz'))
  run = jax.jit(functools.partial(case.call, network))
  return np.asarray(run(variables, arrays))


def ported(name: str, kind: str):
  """A golden's network and its parameters."""
  family = table.FAMILIES[kind]
  state = ports.state_of(ports.GOLDEN / f'{name}.safetensors')
  port = ports.port(state, family, family.network, SIZES[name, kind])
  return port.network, jax.tree.map(jnp.asarray, port.variables)


def _moments(network, variables, g, tile=0):
  frames = jnp.moveaxis(g['image'], 1, -1)
  moments = vae_kl.encode(network, variables, frames, chunk=2, tile=tile)
  return jnp.moveaxis(jnp.concatenate(moments, axis=-1), -1, 1)


def _decoded(network, variables, g, tile=0):
  latents = jnp.moveaxis(g['z'], 1, -1)
  frames = vae_kl.decode(network, variables, latents, chunk=2, tile=tile)
  return jnp.moveaxis(frames, -1, 1)


def _t5(network, variables, g, masked=False):
  ids = jnp.asarray(g['input_ids'], jnp.int32)
  mask = jnp.asarray(g['attention_mask'], bool) if masked else None
  return network.apply(variables, ids, mask)


def _text(network, variables, g, says):
  ids = jnp.asarray(g['input_ids'], jnp.int32)
  return getattr(network.apply(variables, ids), says)


def _resized(network, variables, g):
  del network, variables
  frames = jnp.moveaxis(g['image'], 1, -1)
  return jnp.moveaxis(clip_pixels.from_frames(frames, 28), -1, 1)


def _image(network, variables, g, says):
  images = jnp.moveaxis(jnp.asarray(g['image']), 1, -1)
  return getattr(network.apply(variables, images), says)


_KL = {'groups': 8, 'scale': 0.18215}
_EXACT = {'heads': 4, 'activation': 'gelu'}
SIZES = {
  ('autoencoder_kl_tiny', 'vae_kl'): _KL,
  ('lvdm_autoencoder_tiny', 'vae_kl'): {**_KL, 'groups': 32},
  ('t5_encoder_tiny', 't5'): {'max_distance': 128},
  ('clip_text_tiny', 'clip_text'): _EXACT,
  ('openclip_tiny', 'clip_text'): _EXACT,
  ('openclip_tiny', 'clip_image'): _EXACT,
  ('clip_quick_gelu_tiny', 'clip_text'): {
    'heads': 2,
    'activation': 'quick_gelu',
  },
  ('clip_quick_gelu_tiny', 'clip_image'): {
    'heads': 4,
    'activation': 'quick_gelu',
  },
}
_TILED = functools.partial(
  Case, 'autoencoder_kl_tiled', weights='autoencoder_kl_tiny'
)


TEXTS = [
  ('clip_text_tiny', 'last_hidden_state', 'last'),
  ('clip_text_tiny', 'penultimate_ln', 'penultimate'),
  ('clip_text_tiny', 'pooled', 'pooled'),
  ('openclip_tiny', 'text_penultimate', 'penultimate'),
  ('clip_quick_gelu_tiny', 'last_hidden_state', 'last'),
  ('clip_quick_gelu_tiny', 'text_embeds', 'projected'),
]
IMAGES = [
  ('openclip_tiny', 'visual_tokens', 'tokens'),
  ('openclip_tiny', 'image_embed', 'projected'),
  ('clip_quick_gelu_tiny', 'image_tokens', 'tokens'),
  ('clip_quick_gelu_tiny', 'image_embeds', 'projected'),
]
CASES = [
  Case('autoencoder_kl_tiny', 'moments', 'vae_kl', _moments),
  Case('autoencoder_kl_tiny', 'decoded', 'vae_kl', _decoded),
  _TILED('moments', 'vae_kl', functools.partial(_moments, tile=16)),
  _TILED('decoded', 'vae_kl', functools.partial(_decoded, tile=16)),
  Case('lvdm_autoencoder_tiny', 'moments', 'vae_kl', _moments),
  Case('lvdm_autoencoder_tiny', 'decoded', 'vae_kl', _decoded),
  Case('t5_encoder_tiny', 'out_nomask', 't5', _t5, 1e-4),
  Case(
    't5_encoder_tiny',
    'out_masked',
    't5',
    functools.partial(_t5, masked=True),
    1e-4,
  ),
  *(
    Case(name, output, kind, functools.partial(call, says=says))
    for kind, call, outputs in (
      ('clip_text', _text, TEXTS),
      ('clip_image', _image, IMAGES),
    )
    for name, output, says in outputs
  ),
  Case('clip_image_preprocess_tiny', 'normalized_28', 'clip_pixels', _resized),
]

if __name__ == '__main__':
  main()
