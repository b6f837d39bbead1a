"""How any data set is read.  Not a recipe: no `get_config` of its own."""

import ml_collections


def add(config: ml_collections.ConfigDict) -> None:
  """Adds to `config.data` the keys that a recipe changes only when it must."""
  config.data.max_stride = 0  # strides are drawn up to it; 0: data.stride
  config.data.flip = False  # every other window is mirrored
  config.data.caption_dropout = 0.1  # share that shows the null caption
  config.data.draw = False  # of cached latents: draw them, not their modes
  config.data.weights = ()  # of each data set of a mixture; (): by their clips
  config.data.max_bad_fraction = 0.01  # of files that may be damaged or gone
  config.data.prefetch = 8  # batches that each reading process holds ready
