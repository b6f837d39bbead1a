"""Bad configs: what is wrong with each, in words that its message holds."""

from typing import Any

import ml_collections

from configs import quickstart


def good() -> ml_collections.ConfigDict:
  """The quickstart, from nothing: the base checkpoint is not under test."""
  config = quickstart.get_config()
  config.init_from = ''
  return config


def change(
  config: ml_collections.ConfigDict, changes: dict[str, Any]
) -> ml_collections.ConfigDict:
  """Puts values in as a hand-written config could, of any type."""
  with config.unlocked(), config.ignore_type():
    for name, value in changes.items():
      *folders, leaf = name.split('.')
      place = config
      for folder in folders:
        place = place[folder]
      with place.unlocked(), place.ignore_type():
        place[leaf] = value
  return config


# Changes to the quickstart -> what the message must hold.
BAD = [
  ({'job': 'bridge'}, ['job', "'bridge'", 'denoiser, neural_prior']),
  ({'seed': -1}, ['seed', '-1', 'whole number of at least 0']),
  ({'seed': 0.5}, ['seed', '0.5', 'whole number']),
  ({'seed': True}, ['seed', 'True', 'whole number']),
  ({'dataset': 'mnist'}, ['dataset', "'mnist'", 'moving_digits']),
  ({'dataset': 'folder'}, ['data_dir is empty', '--config.data_dir']),
  ({'dataset': 'ucf101:fold=01+mnist'}, ['dataset', 'several as a+b', 'mnist']),
  (
    {'dataset': 'webvid:cut=2M,fold=1'},
    ['dataset', "'fold' is unknown", 'cut'],
  ),
  ({'data.max_stride': -1}, ['data.max_stride', 'whole number of at least 0']),
  ({'data.flip': 1}, ['data.flip', 'True or False']),
  ({'data.weights': (1.0, 0.0)}, ['data.weights', 'above 0 for each']),
  ({'data.max_bad_fraction': 1.5}, ['data.max_bad_fraction', '[0, 1]']),
  ({'data.prefetch': 0}, ['data.prefetch', 'whole number of at least 1']),
  ({'data.size': 0}, ['data.size', '0', 'at least']),
  ({'data.size': 30}, ['data.size 30', 'model.patch 4']),
  ({'data.frames': 1}, ['data.frames', '1', 'at least 2']),
  ({'data.frames': 2}, ['data.frames is 2', 'first_and_last', 'below 3']),
  ({'denoiser.prediction': 'psi'}, ['prediction is psi', 'no signal at T']),
  ({'denoiser.prediction': 'eps'}, ['prediction is eps', 'no signal at T']),
  ({'codec': 'vae'}, ['codec', "'vae'", 'identity']),
  ({'process.schedule': 'vp2'}, ['process.schedule', "'vp2'", 'bridge_gmax']),
  (
    {'process.schedule': 'bridge_gmax:b1=0'},
    ['process.schedule', 'b1 of BridgeGmax is 0', 'above 0'],
  ),
  (
    {'process.schedule': 'bridge_gmax:b2=3'},
    ['process.schedule', "'b2' is unknown", 'b0, b1'],
  ),
  ({'process.schedule': 'edm:T=x'}, ['process.schedule', 'T=x: want float']),
  (
    {'process.schedule': 'flow'},
    ['process.schedule: Flow(', 'alpha = 0 at T', 'process diffusion'],
  ),
  (
    {'process.schedule': 'table_linear:zero_terminal=true'},
    ['process.schedule: Discrete(', 'alpha = 0 at T'],
  ),
  ({'process.name': 'ode'}, ['process.name', "'ode'", 'bridge, diffusion']),
  ({'prior': 'zero'}, ['prior', "'zero'", 'replicate, blend']),
  ({'denoiser.prediction': 'x'}, ['denoiser.prediction', "'x'", 'psi']),
  (
    {'denoiser.view': 'flat'},
    ['denoiser.view', "'flat'", 'plain, residual, aligned'],
  ),
  ({'model.width': 100}, ['model.width 100', 'model.heads', '4']),
  ({'model.depth': 5}, ['model.depth 5', 'odd']),
  ({'model.stride': True}, ['model.stride', 'one stride teaches nothing']),
  (
    {'model.text_width': 8},
    ['model.text_width is 8', 'only latents hold embeddings'],
  ),
  ({'model.timed': False}, ['model.timed', 'must hear the time']),
  ({'train.accumulate': 3}, ['train.batch_size', 'accumulate 3']),
  ({'train.best': 'validation_loss'}, ['train.best', 'validate_every']),
  ({'train.best': 'los'}, ['train.best', "'los'", 'one of loss, mse']),
  (
    {'train.best': 'validation_loss', 'train.validate_every': 3},
    ['train.checkpoint_every is 20', 'train.validate_every (3)'],
  ),
  ({'log.profile_steps': '5:3'}, ['log.profile_steps', "'5:3'", '100:105']),
  (
    {'optimizer.schedule': 'cosine_restarts:cycles=20'},
    ['optimizer.schedule', '20 cycles', 'warm-up'],
  ),
  ({'model.anchor': 1}, ['model.anchor', '1', 'True or False']),
  ({'dtype': 'float16'}, ['dtype', "'float16'", 'float32, bfloat16']),
  ({'times.p_frames': 1.5}, ['times.p_frames', '1.5', 'in [0, 1]']),
  ({'times.t_min': 0.0}, ['times.t_min', '0.0', 'in [1e-06, 1.0]']),
  ({'label_dropout': float('nan')}, ['label_dropout', 'nan', 'in [0, 1]']),
  ({'optimizer.schedule': 'step'}, ['optimizer.schedule', 'one of cosine']),
  ({'optimizer.learning_rate': '1e-3'}, ['learning_rate', "'1e-3'", 'number']),
  ({'ema_decays': (0.9, 1.01)}, ['ema_decays', '1.01', 'in [0, 1]']),
  ({'ema_decay': 0.99}, ['ema_decay', 'mean ema_decays?']),
  ({'init_from': 'no.st'}, ['init_from', "'no.st'", 'quickstart_base']),
  ({'task_mix.none': 0.1}, ['task_mix.none', 'bridge', 'name=diffusion']),
  (
    {'times.draw': 'logit_normal:mea=2'},
    ['times.draw', "'mea' is unknown", 'known: mean, std'],
  ),
  (
    {'times.draw': 'logit_normal:mean=two'},
    ['times.draw', 'mean=two', 'want float'],
  ),
  ({'times.draw': 'normal'}, ['times.draw', 'uniform, stratified']),
  ({'times.draw': 3}, ['times.draw', '3', 'uniform, stratified']),
  ({'times.coin': 'frame'}, ['times.coin', "'frame'", 'sample, batch']),
  (
    {'loss_weight': 'snr:floor=low'},
    ['loss_weight', 'floor=low', 'want float'],
  ),
  ({'loss_weight': 'uniform'}, ['loss_weight', 'snr, own_target']),
  ({'denoiser.clock': 'unix'}, ['denoiser.clock', 'log_sigma']),
  ({'denoiser.lookup': 'nearest'}, ['denoiser.lookup', 'amplitude_linear']),
  ({'denoiser.view': 'aligned'}, ['aligned', 'denoiser.teacher is empty']),
  (
    {'denoiser.view': 'aligned', 'denoiser.teacher': 'sd'},
    ['denoiser.teacher', "'sd'", 'table_scaled_linear'],
  ),
  (
    {'denoiser.teacher': 'vp'},
    ['denoiser.teacher', "'vp'", 'only aligned has a teacher'],
  ),
  (
    {
      'denoiser.view': 'aligned',
      'denoiser.teacher': 'vp',
      'denoiser.lookup': 'snr_linear:reach=2',
    },
    ['denoiser.lookup', 'reads a table', "'vp' has none", 'use own'],
  ),
  ({'task_mix.middle': 1.0}, ['task_mix.middle', 'first_and_last']),
  ({'task_mix.first': -0.5}, ['task_mix.first', '-0.5', 'at least 0']),
  ({'train.num_steps': 0}, ['train.num_steps', '0', 'at least 1']),
  ({'train.batch_size': 2.0}, ['train.batch_size', '2.0', 'whole number']),
  ({'mesh.fsdp': -2}, ['mesh.fsdp', '-2', '-1']),
  ({'mesh.tensor': 0}, ['mesh.tensor', '0', 'at least 1']),
  # Wrong types.
  ({'data.frames': 'sixteen'}, ['data.frames', "'sixteen'", 'whole number']),
  ({'dataset': None}, ['dataset', 'None', 'moving_digits, ']),
  ({'dtype': ['float32']}, ['dtype', "['float32']", 'one of float32']),
  ({'hold_given': 'yes'}, ['hold_given', "'yes'", 'True or False']),
  ({'init_surgery': 0}, ['init_surgery', '0', 'True or False']),
  ({'init_fresh': None}, ['init_fresh', 'None', 'a regular expression']),
  ({'model.trained_grid': (16, 2)}, ['model.trained_grid', 'three whole']),
  ({'model': 'latte'}, ['model', "'latte'", 'config.model = {...}']),
  ({'task_mix': 'first'}, ['task_mix', "'first'", 'want a section']),
  ({'optimizer': None}, ['optimizer', 'None', 'want a section']),
  # Out of range.
  ({'data.size': 31}, ['data.size', '31', 'an even number']),
  ({'data.stride': 0}, ['data.stride', '0', 'at least 1']),
  ({'data.num_workers': -1}, ['data.num_workers', '-1', 'at least 0']),
  ({'model.patch': 0}, ['model.patch', '0', 'at least 1']),
  ({'model.width': 4}, ['model.width', '4', 'at least 8']),
  ({'model.heads': 0}, ['model.heads', '0', 'at least 1']),
  ({'model.classes': -2}, ['model.classes', '-2', 'at least -1']),
  ({'optimizer.learning_rate': -1e-3}, ['learning_rate', '-0.001']),
  ({'optimizer.weight_decay': float('nan')}, ['weight_decay', 'nan']),
  ({'optimizer.warmup_steps': -5}, ['warmup_steps', '-5', 'at least 0']),
  ({'optimizer.b2': 1.5}, ['optimizer.b2', '1.5', 'in [0, 1]']),
  ({'optimizer.clip_norm': 0.0}, ['clip_norm', '0.0', 'at least 1e-06']),
  ({'times.p_end': -0.1}, ['times.p_end', '-0.1', 'in [0, 1]']),
  ({'train.keep': 0}, ['train.keep', '0', 'at least 1']),
  ({'train.log_every': 2.5}, ['train.log_every', '2.5', 'whole number']),
  ({'train.checkpoint_every': 0}, ['train.checkpoint_every', 'at least 1']),
  # Names and expressions that are none.
  ({'model.name': 'latte_m2'}, ['model.name', "'latte_m2'", 'latte_s2']),
  ({'model.remat': 'all'}, ['model.remat', "'all'", 'none, full, dots']),
  ({'model.attention': 'flash'}, ['model.attention', "'flash'", 'cudnn']),
  ({'optimizer.freeze': 'prior/('}, ['optimizer.freeze', 'unterminated']),
  # Contradictions.
  ({'model.patch': 5}, ['data.size 32', 'multiple of model.patch 5']),
  ({'model.heads': 5}, ['model.width 128', '4 model.heads (5)']),
  ({'model.prior': False}, ['model.prior is False', "shown is 'blend'"]),
  ({'denoiser.shown': ''}, ['model.prior is True', "denoiser.shown is ''"]),
  ({'prior': 'neural'}, ["prior is 'neural'", 'there is no prior_model']),
  ({'denoiser.shown': 'neural'}, ["shown 'neural'", 'no prior_model']),
  # Typos.
  ({'optimizer.moments': 'float16'}, ['optimizer.moments', 'bfloat16']),
  ({'lora.rank': 4}, ['lora.rank is 4', "init_from is ''"]),
  (
    {'lora.rank': 4, 'lora.targets': ''},
    ['lora.rank is 4', "lora.targets is ''", 'give a regex'],
  ),
  ({'lora.targets': 'a('}, ['lora.targets', 'unterminated']),
  ({'optimizer.learnin_rate': 1.0}, ['mean optimizer.learning_rate?']),
  ({'train.batchsize': 8}, ['train.batchsize', 'mean train.batch_size?']),
  ({'times.pframes': 0.1}, ['times.pframes', 'mean times.p_frames?']),
  ({'mesh.fdsp': 2}, ['mesh.fdsp', 'mean mesh.fsdp?']),
  ({'task_mix.frist': 0.1}, ['task_mix.frist', 'mean first?']),
  ({'dtpye': 'float32'}, ['dtpye', 'mean dtype?']),
  ({'model.widht': 64}, ['model.widht', 'did you mean model.width']),
  ({'optimiser': 'adam'}, ['optimiser', 'unknown']),
  ({'zzz': 1}, ['zzz', 'known: ', 'train.num_steps']),
]
