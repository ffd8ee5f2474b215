"""How much faster is the CPU path of vit_jax/cpu.py? Each setting trains in a process of its own, in turn.

    python experiments/cpu_fast_path/measure.py --rounds=2

Prints and writes results.csv: images/s of the train step of configs/cifar_catdog.py on made-up pictures, the
median of the steps of each process; rounds alternate between the settings, so that a machine that slows down
slows them all.
"""
import argparse
import csv
import functools
import itertools
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
STEPS = 25


def time_one(dtype, onednn, pages):
  """Images/s of one setting, in this process."""
  import time

  from vit_jax import cpu
  if pages:
    cpu.keep_pages()
  import jax
  import jax.numpy as jnp
  import numpy as np

  from configs import cifar_catdog
  from vit_jax import augment
  from vit_jax import optim
  from vit_jax import step as step_lib
  from vit_jax.models import variants

  config = cifar_catdog.get_config()
  model = variants.build(config.model.variant, num_classes=2, image_size=32, dtype=jnp.dtype(dtype))
  tx, _ = optim.make_optimizer(variants.abstract_params(model, 32), name=config.optim.name, peak_lr=config.optim.lr,
                               muon_lr=config.optim.muon_lr, weight_decay=config.optim.weight_decay, warmup_steps=1,
                               total_steps=100, grad_clip=config.optim.grad_clip, dtype=model.dtype)
  pictures = functools.partial(augment.augment, size=32, flip=True, crop_padding=4, crop_scale=1.0,
                               trivial=False, cutmix=0.25)
  step = step_lib.Step(model, tx, augment=pictures, num_classes=2, label_smoothing=0.1, ema_decay=0.99,
                       accum_steps=1, log_every=50).train
  state = jax.jit(lambda key: step_lib.create_state(model, tx, key, 32))(jax.random.key(0))
  rng = np.random.default_rng(0)
  batch = {'image': rng.integers(0, 256, (config.batch_size, 32, 32, 3), np.uint8),
           'label': rng.integers(0, 2, config.batch_size).astype(np.int32)}
  jitted = jax.jit(step, donate_argnums=0)
  key = jax.random.key(0)
  compiled = cpu.compile_fast(jitted, state, batch, key) if onednn else jitted.lower(state, batch, key).compile()
  seconds = []
  for _ in range(STEPS):
    start = time.perf_counter()
    state, _ = jax.block_until_ready(compiled(state, batch, key))
    seconds.append(time.perf_counter() - start)
  return config.batch_size / statistics.median(seconds[5:])


def main():
  """Measures all settings in turn, or one of them in this process."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--rounds', type=int, default=3)
  parser.add_argument('--one', nargs=3, metavar=('DTYPE', 'ONEDNN', 'PAGES'))
  args = parser.parse_args()
  if args.one:
    dtype, onednn, pages = args.one
    print(time_one(dtype, onednn == '1', pages == '1'))
    return
  settings = list(itertools.product(('float32', 'bfloat16'), '01', '01'))
  speeds = {setting: [] for setting in settings}
  for _ in range(args.rounds):
    for setting in settings:
      out = subprocess.run([sys.executable, __file__, '--one', *setting], capture_output=True, text=True, check=True)
      speeds[setting].append(float(out.stdout.splitlines()[-1]))
      print(*setting, f'{speeds[setting][-1]:.0f} images/s', flush=True)
  with (HERE / 'results.csv').open('w', newline='', encoding='utf-8') as f:
    writer = csv.writer(f, lineterminator='\n')
    writer.writerow(['dtype', 'onednn', 'kept_pages', 'images_per_second_median', 'min', 'max', 'rounds'])
    for setting, values in speeds.items():
      writer.writerow([*setting, *(round(f(values)) for f in (statistics.median, min, max)), args.rounds])


if __name__ == '__main__':
  main()
