"""A plain PyTorch Latte, written to be measured against.

It is what one would write today: SDPA attention, tables as buffers, the
public project's parameter names.  It needs `pip install torch==2.13.0`.

  python benchmarks/torch_latte.py --check=latte_tiny_class.pt

reads a state dict, and inputs and output from the `.npz` beside it, and ends
with status 1 where this network's output is more than 1e-5 of the largest
number away.
"""

import argparse
import json
import pathlib
import sys

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

_TIME_WIDTH = 256


class Latte(nn.Module):
  """Maps latents `[b, f, c, h, w]`, times `[b]` and labels `[b]` to eps."""

  def __init__(
    self,
    *,
    width,
    depth,
    heads,
    patch,
    frames,
    size,
    channels,
    classes,
    learned_variance=True,
  ):
    super().__init__()
    self.patch = patch
    self.out = channels * (1 + learned_variance)
    self.x_embedder = Patches(channels, width, patch)
    self.t_embedder = Time(width)
    self.y_embedder = Labels(classes, width)
    self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
    self.final_layer = FinalLayer(width, patch**2 * self.out)
    side = size // patch
    self.register_buffer('pos_embed', _grid_table(side, width)[None])
    self.register_buffer('temp_embed', _table(np.arange(frames), width)[None])

  def forward(self, x, t, y):
    """All output channels, `[b, f, out, h, w]`, in float32."""
    b, f = x.shape[:2]
    side = x.shape[-1] // self.patch
    x = self.x_embedder(x.flatten(0, 1))
    x = x + self.pos_embed.to(x.dtype)
    # Float32 under autocast would widen all that c touches.
    c = (self.t_embedder(t) + self.y_embedder(y)).to(x.dtype)
    c = F.silu(c)[:, None, None]
    x = x.unflatten(0, (b, f))
    for i, block in enumerate(self.blocks):
      if i % 2:
        x = x.transpose(1, 2)
        if i == 1:
          x = x + self.temp_embed.to(x.dtype)
        x = block(x, c).transpose(1, 2)
      else:
        x = block(x, c)
    x = self.final_layer(x, c)
    x = x.reshape(b, f, side, side, self.patch, self.patch, self.out)
    x = x.permute(0, 1, 6, 2, 4, 3, 5).flatten(5, 6).flatten(3, 4)
    return x.float()


class Block(nn.Module):
  """Attention and MLP over the tokens of each group, adaLN-Zero."""

  def __init__(self, width, heads):
    super().__init__()
    self.attn = Attention(width, heads)
    self.mlp = Mlp(width)
    self.adaLN_modulation = nn.Sequential(nn.Identity(), _linear(width, 6))

  def forward(self, x, c):
    """Attends over axis 2 of `[b, m, t, d]`; c is SiLU'd already."""
    c = self.adaLN_modulation(c).chunk(6, dim=-1)
    shift1, scale1, gate1, shift2, scale2, gate2 = c
    x = x + gate1 * self.attn(modulated(x, shift1, scale1))
    return x + gate2 * self.mlp(modulated(x, shift2, scale2))


class Attention(nn.Module):
  """Multi-head self-attention, qkv fused."""

  def __init__(self, width, heads):
    super().__init__()
    self.heads = heads
    self.qkv = _linear(width, 3)
    self.proj = _linear(width, 1)

  def forward(self, x):
    """Attends over axis 2."""
    return self.proj(attend(self.qkv(x), self.heads))


class Mlp(nn.Module):
  """Two layers with GELU between them."""

  def __init__(self, width):
    super().__init__()
    self.fc1 = _linear(width, 4)
    self.fc2 = nn.Linear(4 * width, width)

  def forward(self, x):
    """Of each token."""
    return self.fc2(F.gelu(self.fc1(x), approximate='tanh'))


class FinalLayer(nn.Module):
  """Modulated norm, and tokens to patches."""

  def __init__(self, width, features):
    super().__init__()
    self.linear = nn.Linear(width, features)
    self.adaLN_modulation = nn.Sequential(nn.Identity(), _linear(width, 2))

  def forward(self, x, c):
    """Pixels of each token's patch."""
    return self.linear(modulated(x, *self.adaLN_modulation(c).chunk(2, -1)))


class Patches(nn.Module):
  """A strided convolution, as the public project stores it."""

  def __init__(self, channels, width, patch):
    super().__init__()
    self.proj = nn.Conv2d(channels, width, patch, stride=patch)

  def forward(self, x):
    """Tokens `[n, place, d]` of images `[n, c, h, w]`."""
    return self.proj(x).flatten(2).transpose(1, 2)


class Time(nn.Module):
  """A sinusoid and a small MLP."""

  def __init__(self, width):
    super().__init__()
    self.mlp = nn.Sequential(
      nn.Linear(_TIME_WIDTH, width), nn.SiLU(), nn.Linear(width, width)
    )

  def forward(self, t):
    """Embeds real-valued times."""
    half = _TIME_WIDTH // 2
    index = torch.arange(half, device=t.device, dtype=torch.float32)
    angle = t[:, None].float() * torch.exp(-np.log(10000.0) * index / half)
    return self.mlp(torch.cat([angle.cos(), angle.sin()], dim=-1))


class Labels(nn.Module):
  """A table with a row for each class and one for none."""

  def __init__(self, classes, width):
    super().__init__()
    self.embedding_table = nn.Embedding(classes + 1, width)

  def forward(self, y):
    """Rows of the table."""
    return self.embedding_table(y)


def attend(qkv, heads):
  """Attention over axis 2 of fused q, k, v `[b, m, t, 3 d]`."""
  q, k, v = qkv.unflatten(-1, (3, heads, -1)).permute(3, 0, 1, 4, 2, 5)
  q, k, v = (y.flatten(0, 1) for y in (q, k, v))
  x = F.scaled_dot_product_attention(q, k, v)
  return x.transpose(1, 2).flatten(2).unflatten(0, qkv.shape[:2])


def modulated(x, shift, scale):
  """LayerNorm without parameters in float32, scaled and shifted."""
  y = F.layer_norm(x.float(), x.shape[-1:], eps=1e-6).to(x.dtype)
  return y * (1 + scale) + shift


def _linear(width, times):
  return nn.Linear(width, times * width)


def _grid_table(side, width):
  rows, columns = np.meshgrid(np.arange(side), np.arange(side), indexing='ij')
  halves = (_table(x.ravel(), width // 2) for x in (columns, rows))
  return torch.cat(list(halves), dim=-1)


def _table(positions, width):
  index = np.arange(width // 2, dtype=np.float64)
  angle = positions[:, None] / 10000 ** (index / (width / 2))
  table = np.concatenate([np.sin(angle), np.cos(angle)], axis=-1)
  return torch.from_numpy(table.astype(np.float32))


def apart(path: pathlib.Path) -> float:
  """Largest difference from a golden output, by its largest number."""
  golden = np.load(path.with_suffix('.npz'))
  config = json.loads(str(golden['config']))
  model = Latte(
    width=config['hidden_size'],
    depth=config['depth'],
    heads=config['num_heads'],
    patch=config['patch_size'],
    frames=config['num_frames'],
    size=config['input_size'],
    channels=config['in_channels'],
    classes=config['num_classes'],
    learned_variance=config['learn_sigma'],
  )
  model.load_state_dict(torch.load(path, weights_only=True))
  inputs = (torch.from_numpy(golden[name]) for name in 'xty')
  with torch.no_grad():
    got = model(*inputs).numpy()
  want = golden['output']
  return float(np.abs(got - want).max() / np.abs(want).max())


def main() -> int:
  """Prints the largest relative difference."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--check', type=pathlib.Path, required=True)
  found = apart(parser.parse_args().check)
  print(f'largest difference {found:.1e} of the largest number, want <= 1e-5')
  return int(not found <= 1e-5)


if __name__ == '__main__':
  sys.exit(main())
