"""Rows of DATASETS that the package draws itself.

TFDS takes a third of a second to import, so builders are imported where they
are used.
"""

from framebridge_jax.data import opened


def moving_digits(
  wanted: opened.Wanted,
  *,
  world: str = 'plain32',
  train: int = 8000,
  test: int = 1000,
  seed: int = 0,
) -> opened.Opened:
  """Digits that drift.

  Raises:
    ValueError: The world is unknown, or its clips do not fit.
  """
  from framebridge_jax.data.builders import moving_digits as digits

  opened.check_split(wanted.split)
  config = digits.make_config(world, train=train, test=test, seed=seed)
  if config.world.size != wanted.size:
    raise ValueError(
      f'{world} is {config.world.size} pixels wide, size is {wanted.size}; '
      'make them equal'
    )
  if config.world.frames < wanted.min_frames:
    raise ValueError(
      f'{world} has {config.world.frames} frames a clip, the window spans '
      f'{wanted.min_frames}; lower frames or stride'
    )
  records = digits.open_records(config, wanted.split, data_dir=wanted.data_dir)
  return opened.Opened(records, tuple('0123456789'))


def physics_motion(
  wanted: opened.Wanted,
  *,
  sample: bool = False,
  frames: int = 16,
  train: int = 8000,
  test: int = 1000,
  scenes: int = 64,
  futures: int = 16,
  seed: int = 0,
) -> opened.Opened:
  """Solids in motion; `sample` are the clips that the package carries.

  Raises:
    ValueError: A number is too small, or the clips do not fit.
  """
  from framebridge_jax.data.builders import physics_motion as physics

  config = (
    physics.SAMPLE
    if sample
    else physics.make_config(
      size=wanted.size,
      frames=frames,
      train=train,
      test=test,
      scenes=scenes,
      futures=futures,
      seed=seed,
    )
  )
  if config.size != wanted.size or config.frames < wanted.min_frames:
    raise ValueError(
      f'physics_motion has {config.frames} frames of {config.size} pixels a '
      f'clip, the window spans {wanted.min_frames} of {wanted.size}'
    )
  records = (
    physics.open_sample(wanted.split)
    if sample
    else physics.open_records(config, wanted.split, data_dir=wanted.data_dir)
  )
  return opened.Opened(records, physics.CLASS_NAMES)
