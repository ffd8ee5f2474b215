"""Writes the weights of a run to one file, to be kept, sent and started from.

  python -m vit_jax.export --workdir=runs/tiny_imagenet-seed0 --out=tiny.safetensors
      the newest checkpoint, in float32 (--dtype=bfloat16 takes half the room)

  python -m vit_jax.main --config=configs/cifar_catdog.py --config.init=tiny.safetensors …
      trains on from there
"""
import pathlib

from absl import flags

from vit_jax import command
from vit_jax.errors import BadInput

_WORKDIR = flags.DEFINE_string('workdir', None, 'The run folder.')
_OUT = flags.DEFINE_string('out', None, 'The file to write, ending in .safetensors.')
_DTYPE = flags.DEFINE_enum('dtype', 'float32', ['float32', 'bfloat16'], 'Type of the numbers in the file.')
_ABOUT = flags.DEFINE_string('about', '', 'A line on what the weights are; by default their step and folder.')


def main():
  """The command: flags in, exit status out."""
  if not _WORKDIR.value or not _OUT.value:
    raise BadInput('name a run with --workdir=… and a file with --out=….safetensors, or see --help')
  out = pathlib.Path(_OUT.value).expanduser()
  if out.suffix != '.safetensors' or not out.parent.is_dir():
    raise BadInput(f'--out={_OUT.value} must be a file ending in .safetensors in a folder that exists')
  command.start_jax()
  from flax import traverse_util

  from vit_jax import run
  from vit_jax.weights import files
  from vit_jax.weights import load

  flat, model, about = load.read_run(run.RunFolder(_WORKDIR.value).path)
  files.save(out, traverse_util.unflatten_dict(flat, sep='/'), model, _ABOUT.value or about, _DTYPE.value)
  print(f'{about} -> {out}, {out.stat().st_size / 1e6:.1f} MB')
  return 0


if __name__ == '__main__':
  command.run(main, interrupted=lambda: 'nothing was written')
