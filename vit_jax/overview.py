"""What will be trained, on one screen, before it is."""
import jax
import jax.numpy as jnp

from vit_jax import machine
from vit_jax import progress
from vit_jax.models import flops as flops_lib
from vit_jax.models import variants
from vit_jax.models import vit


def describe(job, recipe, folder, start_step):
  """One screen on what will be trained, from which step on, on what, and where it will be."""
  config, data, model = job.config, job.data, job.model
  size = config.data.image_size
  sizes = [f'{progress.number(len(part))} {name}' for name, part in
           (('train', data.train), ('validation', data.validation), ('test', data.test))]
  names = ', '.join(data.class_names[:10]) + (', …' if len(data.class_names) > 10 else '')
  params = vit.num_params(variants.abstract_params(model, size))
  flops = flops_lib.flops_per_image(model, size)
  optimizer = f'{"sgd" if config.optim.name == "sgd" else "adamw"} {config.optim.lr:g}'
  if config.optim.name == 'muon':
    optimizer = f'muon {config.optim.muon_lr:g} beside {optimizer}'
  if config.optim.layer_decay < 1:
    optimizer += f', times {config.optim.layer_decay:g} a block' if config.optim.layer_decay else ', head only'
  chosen = ', '.join(f'{key}={value}' for key, value in job.chosen.items())
  tokens = variants.num_tokens(model, size)
  device = jax.devices()[0]
  kind = machine.processor_name() if device.platform == 'cpu' else device.device_kind
  return progress.table([
      ('recipe', f'{recipe}, seed {config.seed}'),
      ('data', f'{data.name}: {", ".join(sizes)} pictures of {size}×{size}; '
               f'{len(data.class_names)} classes: {names}'),
      *(('', note) for note in data.notes),
      ('model', f'{config.model.variant or config.init}: {progress.number(params)} parameters, '
                + (f'{tokens} tokens, ' if tokens else '')
                + f'{progress.number(flops)}FLOP a picture, {jnp.dtype(model.dtype).name}'),
      *([('teacher', config.teacher)] if config.teacher else []),
      ('train', f'{job.total_steps} steps of {config.batch_size} pictures ({config.epochs:g} epochs), {optimizer}'
                + (f'; goes on after step {start_step}' if start_step else '')),
      *([('chosen', f'by the number of pictures: {chosen}')] if chosen else []),
      ('device', f'{job.mesh.size} × {device.platform} ({kind}), jax {jax.__version__}'),
      ('run', str(folder)),
  ])
