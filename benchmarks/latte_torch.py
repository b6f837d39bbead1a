"""The PyTorch arms of `latte.py`, which starts this file."""

import contextlib

import latte_job
import numpy as np
import torch
import torch.nn.functional as F
import torch_latte


def make(settings: latte_job.Settings, job: str) -> latte_job.Case:
  """Makes a job ready; torch.compile compiles in its first run."""
  if _on_gpu(settings):
    # There jax multiplies float32 in TF32, too.
    torch.set_float32_matmul_precision('high')
  case = (
    _part(settings, *job.split('/'))
    if '/' in job
    else {'forward': _forward, 'train': _train, 'sample': _sample}[job](
      settings
    )
  )
  if not settings.options['compile']:
    case.facts['compile_s'] = None
  name = torch.cuda.get_device_name() if _on_gpu(settings) else 'cpu'
  case.facts.update(device=name, software=f'torch {torch.__version__}')
  return case


def _forward(settings):
  model, inputs = _model(settings), _inputs(settings)

  @torch.no_grad()
  def run():
    with _cast(settings):
      out = model(inputs['z'], inputs['t'], inputs['label'])
    return _finish(settings, out)

  return latte_job.Case(run=run, answer=_channels_last, facts={})


def _train(settings):
  model, inputs = _model(settings), _inputs(settings)
  optimizer = torch.optim.AdamW(
    model.parameters(), lr=1e-4, weight_decay=0.0, fused=True
  )

  def run():
    with _cast(settings):
      out = model(inputs['z'], inputs['t'], inputs['label'])
      eps = out[:, :, : latte_job.CHANNELS]
      loss = F.mse_loss(eps, inputs['noise'])
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return _finish(settings, loss.detach())

  # The second loss tells of the first one's gradient.
  return latte_job.Case(
    run=run, answer=lambda x: np.asarray([x.cpu(), run().cpu()]), facts={}
  )


def _sample(settings):
  """DDIM with eta 0 on every k-th of the 1000 linear steps."""
  model, inputs = _model(settings), _inputs(settings)
  bars = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
  indices = np.arange(0, 1000, 1000 // settings.steps)[::-1]
  a = np.append(np.sqrt(bars[indices]), 1.0).tolist()
  s = np.append(np.sqrt(1 - bars[indices]), 0.0).tolist()
  ones = torch.ones_like(inputs['t'])

  @torch.no_grad()
  def run():
    x = inputs['z']
    for i, index in enumerate(indices.tolist()):
      with _cast(settings):
        out = model(x, index * ones, inputs['label'])
      eps = out[:, :, : latte_job.CHANNELS]
      x0 = (x - s[i] * eps) / a[i]
      x = a[i + 1] * x0 + s[i + 1] * eps
    return _finish(settings, x)

  return latte_job.Case(run=run, answer=_channels_last, facts={})


def _part(settings, part, way):
  function = _functions(settings)[part]
  if settings.options['compile']:
    function = torch.compile(function, mode=settings.options['mode'])
  arguments = [
    # As nn.Linear keeps them, a matrix is [out, in].
    torch.from_numpy(x.T.copy() if x.ndim == 2 else x)
    .to(_place(settings), getattr(torch, settings.dtype))
    .requires_grad_(way == 'backward')
    for x in latte_job.part_arguments(settings, part)
  ]

  def forward():
    with torch.no_grad():
      return _finish(settings, function(*arguments))

  def backward():
    for x in arguments:
      x.grad = None
    out = function(*arguments)
    out.backward(torch.ones_like(out))
    return _finish(settings, arguments[0].grad)

  return latte_job.Case(
    run={'forward': forward, 'backward': backward}[way],
    answer=lambda x: x.float().cpu().numpy(),
    facts={},
  )


def _functions(settings):
  """The parts of a block."""
  heads = settings.numbers['heads']

  def attend(qkv):
    return torch_latte.attend(qkv, heads)

  def mlp(x, *weights):
    hidden = F.gelu(F.linear(x, *weights[:2]), approximate='tanh')
    return F.linear(hidden, *weights[2:])

  def norm_gate(x, y, shift, scale, gate):
    return torch_latte.modulated(x + gate * y, shift, scale)

  return {
    'qkv': F.linear,
    'attention_space': attend,
    'attention_time': attend,
    'out': F.linear,
    'mlp': mlp,
    'norm_gate': norm_gate,
    'modulation': F.linear,
  }


def _model(settings):
  model = torch_latte.Latte(
    **settings.numbers,
    frames=settings.frames,
    size=settings.size,
    channels=latte_job.CHANNELS,
    classes=latte_job.CLASSES,
  )
  with torch.no_grad():
    for name, x in model.named_parameters():
      x.copy_(torch.from_numpy(latte_job.draw(name, tuple(x.shape))))
  model = model.to(_place(settings))
  if settings.options['compile']:
    model = torch.compile(model, mode=settings.options['mode'])
  return model


def _inputs(settings):
  arrays = latte_job.inputs(settings)
  tensors = {k: torch.from_numpy(x) for k, x in arrays.items()}
  for name in ('z', 'noise'):
    tensors[name] = tensors[name].permute(0, 1, 4, 2, 3).contiguous()
  return {k: x.to(_place(settings)) for k, x in tensors.items()}


def _cast(settings):
  """Float32 parameters, products in the dtype."""
  if settings.dtype == 'float32':
    return contextlib.nullcontext()
  return torch.autocast(_place(settings), getattr(torch, settings.dtype))


def _finish(settings, x):
  if _on_gpu(settings):
    torch.cuda.synchronize()
  return x


def _channels_last(x):
  return x.permute(0, 1, 3, 4, 2).cpu().numpy()


def _on_gpu(settings):
  return settings.device == 'gpu'


def _place(settings):
  return 'cuda' if _on_gpu(settings) else 'cpu'


def _memory():
  return torch.cuda.is_available() and torch.cuda.max_memory_allocated()


if __name__ == '__main__':
  latte_job.serve(make, _memory)
