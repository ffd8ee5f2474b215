"""Measures how fast this machine is, and what it waits for.

  python -m vit_jax.benchmark --what=train
      pictures/s of the train step at several widths and numbers of tokens, which share of the machine's speed in matrix
      products that is, memory, and electricity for 1,000 pictures; --config=configs/cifar_catdog.py for a recipe's step

  python -m vit_jax.benchmark --what=predict
      the same for answers

  python -m vit_jax.benchmark --what=peers
      both, beside the same ViT in PyTorch and timm (pip install 'vit_jax[benchmarks]')

  python -m vit_jax.benchmark --what=scaling
      how time and memory of a step grow with batch, tokens, width and depth, beside the formula

  python -m vit_jax.benchmark --what=startup --config=configs/cifar_catdog.py
      what passes before the first step, and before the first answer

  python -m vit_jax.benchmark --what=data --config=configs/tiny_imagenet.py
      how fast the recipe's pictures can be read, and whether training ever waits for them

What is compared runs in turns, so that whatever else the machine does falls on all of it alike; medians over the
rounds are shown, with the lowest and the highest. Ctrl-C ends turns early and shows what they found. Nothing is trained
that would be kept.
"""
import importlib.metadata
import json
import os
import sys

from absl import flags

from vit_jax import atomic
from vit_jax import command
from vit_jax import cpu
from vit_jax import machine
from vit_jax.errors import BadInput
from vit_jax.errors import choose

_WHAT = flags.DEFINE_enum('what', 'data', ['train', 'predict', 'data', 'startup', 'scaling', 'peers'],
                          'What to measure.')
_ROUNDS = flags.DEFINE_integer('rounds', 7, 'How often everything is measured, in turns.', lower_bound=1)
_RESULTS = flags.DEFINE_string('results', None, 'A JSON file to write the numbers to, each round of them.')
_WIDTHS = flags.DEFINE_list('widths', '128,192,384', 'Widths of the models, without a recipe; for scaling the first is '
                            'the one that stays while others vary.')
_TOKENS = flags.DEFINE_list('tokens', '64,256', 'Their numbers of tokens, squares; for scaling as above.')
_DEPTH = flags.DEFINE_integer('depth', 6, 'Their blocks.', lower_bound=1)
_BATCH_SIZE = flags.DEFINE_integer('batch_size', 64, 'Pictures in a batch, without a recipe.', lower_bound=1)
_DTYPES = flags.DEFINE_list('dtypes', 'float32,bfloat16', 'Types of the activations.')
_WEIGHTS = flags.DEFINE_string('weights', 'cifar10', 'The weights that answer in --what=startup, as vit_jax.predict '
                               'takes them.')
flags.adopt_module_key_flags(command)

# A load of more than this before anything is measured is said.
BUSY = 0.5


def numbers(flag, values):
  """The whole numbers that a flag lists; raises BadInput for anything else."""
  if not values or not all(value.strip().isdigit() and int(value) for value in values):
    raise BadInput(f'--{flag}={",".join(values)} must be whole numbers with commas between, as in --{flag}=128,192')
  return [int(value) for value in values]


def dtypes():
  """The types in --dtypes; raises BadInput for others."""
  if not _DTYPES.value:
    raise BadInput('--dtypes= must name float32, bfloat16 or both')
  return [choose(name, ('float32', 'bfloat16'), '--dtypes') for name in _DTYPES.value]


def begin(text):
  """Says what will be measured now, and whether it is the time for that."""
  if (load() or 0) > BUSY:
    text += (f'\nnote: the machine is busy with other things (load {load():.1f}); threads that wait for each other, as '
             'those of torch do, suffer from that more than others. Measure again when it is quiet')
  print(f'{machine.processor_name()}; {text}', file=sys.stderr, flush=True)


def instruction_sets():
  """What the processor has for matrix products, as Linux names it."""
  known = ('avx', 'amx', 'fma', 'asimd', 'sve', 'bf16')
  return sorted(flag for flag in cpu.processor_flags() if flag.startswith(known))


def load():
  """How many processes were at work in the last minute, on average; None where the system does not say."""
  return os.getloadavg()[0] if hasattr(os, 'getloadavg') else None


def describe_machine(environment):
  """The machine and the versions, as a line."""
  versions = environment['versions']
  return (f'{environment["processor"]}, {environment["cores"]} cores ({" ".join(instruction_sets())}), device '
          f'{environment["devices"][0]}; Python {environment["python"]}, '
          + ', '.join(f'{name} {versions[name]}' for name in ('jax', 'torch', 'timm') if name in versions))


def measure_data(config):
  """-> (JSON-able numbers, a screen of text)."""
  command.start_jax()
  from vit_jax import job as job_lib
  from vit_jax.benchmarks import data

  job = job_lib.prepare(config, command.cache_dir())
  begin(f'reading, compiling, then {_ROUNDS.value} rounds …')
  found = data.measure(job, _ROUNDS.value)
  return {**found, 'environment': machine.environment()}, data.describe(job, found)


def measure_startup(config):
  """-> (JSON-able numbers, a screen of text)."""
  from vit_jax import config as config_lib
  from vit_jax.benchmarks import startup

  begin(f'starting everything {_ROUNDS.value + 2} times …')
  found = startup.measure(config_lib.to_json(config), _WEIGHTS.value, command.cache_dir(), _ROUNDS.value)
  command.start_jax()
  environment = machine.environment()
  return {'starts': found, 'environment': environment}, f'{describe_machine(environment)}\n\n{startup.describe(found)}'


def measure_in_turns(config):
  """Training, predicting, peers and scaling, in processes of their own: -> (JSON-able numbers, a screen of text)."""
  from vit_jax import config as config_lib
  from vit_jax import sharding
  from vit_jax.benchmarks import scaling
  from vit_jax.benchmarks import setting
  from vit_jax.benchmarks import speed
  from vit_jax.benchmarks import turns

  what = _WHAT.value
  sizes = dict(batch_size=_BATCH_SIZE.value, depth=_DEPTH.value)
  widths, tokens = numbers('widths', _WIDTHS.value), numbers('tokens', _TOKENS.value)
  for count in tokens:
    setting.check_tokens(count)
  if config is not None and what in ('peers', 'scaling'):
    raise BadInput(f'--what={what} measures models that it makes up; leave out --config, and see --widths and --tokens')
  if what == 'scaling':
    sharding.check_batch_size('--batch_size', _BATCH_SIZE.value, scaling.DEVICES)  # Not after the first group.
    groups = scaling.groups(dtypes(), width=widths[0], tokens=tokens[0], **sizes)
  elif config is not None:
    groups = [speed.group(what, dtypes(), recipe=config_lib.to_json(config), cache_dir=str(command.cache_dir()))]
  else:
    if what == 'peers':
      speed.check_peers()
    works = ['train', 'predict'] if what == 'peers' else [what]
    groups = speed.groups(works, dtypes(), widths=widths, tokens=tokens, peers=what == 'peers', **sizes)
  begin(f'{len(groups)} groups of settings, each compiled and then measured in {_ROUNDS.value} rounds …')
  found = turns.take_turns(groups, _ROUNDS.value)
  stopped = turns.stopped(found, groups, _ROUNDS.value)
  environment = found[0][0]['facts']['environment']
  if what == 'peers':
    environment['versions'].update({name: importlib.metadata.version(name) for name in ('torch', 'timm')})
  if what == 'scaling':
    growth, texts = [scaling.growth(group) for group in found], map(scaling.describe, found)
    numbers_found = {'growth': growth, 'groups': found}
  else:
    found = [speed.judge(group) for group in found]
    recipe = command.recipe_name() if config is not None else ''
    texts, numbers_found = [speed.describe(group, recipe) for group in found], {'groups': found}
  parts = [describe_machine(environment), *texts, stopped]
  if stopped:
    numbers_found['stopped'] = stopped
  return {**numbers_found, 'environment': environment}, '\n\n'.join(filter(None, parts))


def main():
  """The command: flags in, exit status out."""
  config, what = command.read_config(), _WHAT.value
  if config is None and what in ('data', 'startup'):
    raise BadInput('nothing to measure; name a recipe, e.g. --config=configs/cifar_catdog.py, or see --help')
  out = command.writable('results', _RESULTS.value) if _RESULTS.value else None
  before = load()
  measure = {'data': measure_data, 'startup': measure_startup}.get(what, measure_in_turns)
  found, text = measure(config)
  if out:
    recipe = command.recipe_name() if config is not None else None
    found['environment'] |= {'instruction_sets': instruction_sets(), 'load_before': before}
    atomic.write(out, json.dumps({'what': what, 'recipe': recipe, **found}, indent=1) + '\n')
  print(text)
  return 130 if 'stopped' in found else 0  # As every command that Ctrl-C ends.


if __name__ == '__main__':
  command.run(main, interrupted=lambda: 'nothing was written')
