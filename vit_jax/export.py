"""Writes the weights of a run to one file, to be kept, sent and started from.

  python -m vit_jax.export runs/tiny_imagenet-seed0 tiny.safetensors
      the newest checkpoint, in float32 (--dtype=bfloat16 takes half the room)

  python -m vit_jax.main --config=configs/cifar_catdog.py --config.init=tiny.safetensors …
      trains on from there
"""
import pathlib

from absl import flags

from vit_jax import command
from vit_jax.errors import BadInput

_DTYPE = flags.DEFINE_enum('dtype', 'float32', ['float32', 'bfloat16'], 'Type of the numbers in the file.')
_ABOUT = flags.DEFINE_string('about', '', 'A line on what the weights are; by default their step and folder.')


def main(arguments):
  """The command: a run and a file; -> the exit status."""
  if len(arguments) != 2:
    raise BadInput('name a run folder and the file to write, e.g. runs/digits-seed0 digits.safetensors, or see --help')
  workdir, out = arguments[0], pathlib.Path(arguments[1]).expanduser()
  if out.suffix != '.safetensors' or not out.parent.is_dir():
    raise BadInput(f'{arguments[1]} must be a file ending in .safetensors in a folder that exists')
  command.start_jax()
  from vit_jax.weights import files
  from vit_jax.weights import load

  flat, model, about = load.read_run(pathlib.Path(workdir).expanduser())
  files.save(out, flat, model, _ABOUT.value or about, _DTYPE.value)
  print(f'{about} -> {out}, {out.stat().st_size / 1e6:.1f} MB')
  return 0


if __name__ == '__main__':
  command.run(main, interrupted=lambda: 'nothing was written', arguments=True)
