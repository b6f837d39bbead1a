"""What a process logs that is not the first of several: nothing."""

from collections.abc import Mapping

from framebridge_jax.arrays import Pixels


class Silent:
  """In the place of `logging.Logger`."""

  def __enter__(self) -> 'Silent':
    return self

  def __exit__(self, *exception) -> None:
    pass

  def bring(self, *, now: bool = False) -> None:
    """Nothing."""

  def write(self, *args, **kwargs) -> None:
    """Nothing."""

  def write_scores(self, scores: Mapping[str, float], *, step: int) -> None:
    """Nothing."""

  def rewind(self, first_step: int) -> None:
    """Nothing."""

  def write_clip(self, name: str, clip: Pixels, *, fps: int, step: int) -> None:
    """Nothing."""
