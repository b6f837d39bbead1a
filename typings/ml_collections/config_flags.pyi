"""The one function that we call."""

from typing import Any

def DEFINE_config_dict(
  name: str, config: Any, *args: Any, **options: Any
) -> Any: ...
