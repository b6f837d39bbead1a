"""Chips that a plan tells of: what they hold, and how fast it moves.

Rates are those of the vendors' data sheets, and nothing of ours is measured.
`flops.peak` has the rates of matrix products.
"""

from typing import NamedTuple


class Chip(NamedTuple):
  """One device.

  Attributes:
    kind: JAX's name of it (`jax.Device.device_kind`).
    memory: bytes.
    bandwidth: bytes a second between the chip and its memory.
    node: chips that are joined by links.
    link: bytes a second that a chip sends over all its links.
    network: bytes a second that a chip sends out of its node.
  """

  kind: str
  memory: float
  bandwidth: float
  node: int
  link: float
  network: float


# A network of 400 Gb/s (H100, H200) or 200 Gb/s (A100) for each GPU is that of
# NVIDIA's DGX; NVLink's rate is printed for both ways together.  A TPU's links
# are ICI, one way; its network is what a host's cards give a chip.
CHIPS = {
  # nvidia.com/en-us/data-center/a100 (SXM, 80 GB): 2,039 GB/s, NVLink 600 GB/s.
  'a100': Chip('NVIDIA A100-SXM4-80GB', 80e9, 2039e9, 8, 300e9, 25e9),
  # nvidia.com/en-us/data-center/h100 (SXM): 3.35 TB/s, NVLink 900 GB/s.
  'h100': Chip('NVIDIA H100 80GB HBM3', 80e9, 3350e9, 8, 450e9, 50e9),
  # nvidia.com/en-us/data-center/h200 (SXM): 4.8 TB/s, NVLink 900 GB/s.
  'h200': Chip('NVIDIA H200', 141e9, 4800e9, 8, 450e9, 50e9),
  # docs.cloud.google.com/tpu/docs/v4; six links of 50 GB/s each way (Jouppi et
  # al. 2023, "TPU v4").
  'v4': Chip('TPU v4', 32 * 2**30, 1200e9, 4096, 300e9, 6.25e9),
  # docs.cloud.google.com/tpu/docs/v5e: ICI 400 GB/s both ways; a host of 8
  # chips has 2 x 100 Gb/s.
  'v5e': Chip('TPU v5e', 16e9, 819e9, 256, 200e9, 3.125e9),
  # docs.cloud.google.com/tpu/docs/v5p: ICI 4,800 Gb/s.
  'v5p': Chip('TPU v5p', 95e9, 2765e9, 8960, 600e9, 6.25e9),
  # docs.cloud.google.com/tpu/docs/v6e: ICI 800 GB/s both ways; a host of 8
  # chips has 4 x 200 Gb/s.
  'v6e': Chip('TPU v6e', 32e9, 1638e9, 256, 400e9, 12.5e9),
}
