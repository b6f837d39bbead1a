r"""Embed captions with a ported text encoder, and keep them.

Command:
  python -m framebridge_jax.main --mode=embed --workdir=runs/text \
    --config.encoder=runs/t5/weights.safetensors \
    --config.tokenizer=t5/tokenizer --config.captions=captions.txt
Hardware: any; memory for the encoder and one block of it in float32.
Duration: by the encoder; captions that were embedded before cost nothing.
Leaves `text.json` (which caption is which file) and the files in the workdir.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """Keys of `--mode=embed`."""
  config = ml_collections.ConfigDict()
  config.encoder = ''  # a weight file that --mode=port wrote
  config.tokenizer = ''  # a file of its tokenizer, or their folder
  config.kind = ''  # of tokenizer; '': the encoder's own
  config.captions = ''  # a .txt with one a line, or one caption
  config.length = 0  # in tokens; 0: the encoder's own
  config.layer = ''  # which is kept; '': the encoder's usual one
  config.dtype = 'float32'  # of matrix products
  config.cache_dtype = 'float32'  # of what is kept
  config.batch_size = 8
  config.cache_dir = ''  # of the files; '': text/ in the workdir
  return config
