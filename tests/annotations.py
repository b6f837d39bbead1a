"""The checker behind every annotation of the package while it is tested."""

import beartype

# An int stands where a float is asked for, as PEP 484 has it.
check = beartype.beartype(
  conf=beartype.BeartypeConf(is_pep484_tower=True),
)
