"""Writes the weights of a run for others: one file, a folder of timm's or Hugging Face's, or a program.

  python -m vit_jax.export runs/tiny_imagenet-seed0 tiny.safetensors
      the newest checkpoint, in float32 (--dtype=bfloat16 takes half the room); a training starts from it with
      --config.init=tiny.safetensors, and vit_jax.predict answers with it

  python -m vit_jax.export runs/my_vit vit.npz
      the same in the form of the published ViT files

  python -m vit_jax.export runs/my_vit FOLDER --format=huggingface
      for transformers: ViTForImageClassification.from_pretrained(FOLDER)

  python -m vit_jax.export runs/my_vit FOLDER --format=timm
      for timm: create_model('local-dir:FOLDER', pretrained=True)

  python -m vit_jax.export runs/my_vit vit.stablehlo
      weights and preprocessing in one program, pixels to probabilities, which jax runs without vit_jax; vit.onnx is the
      same for ONNX, in a browser or on a telephone (pip install 'vit_jax[onnx]')

Besides a run it takes all that --config.init takes: files of others, too, and shipped weights by name.
"""
import json
import os

from absl import flags

from vit_jax import atomic
from vit_jax import command
from vit_jax import paths
from vit_jax.errors import BadInput
from vit_jax.models import described

ENDINGS = {'.safetensors': 'vit_jax', '.npz': 'npz', '.stablehlo': 'stablehlo', '.onnx': 'onnx'}
# How a program is run, by whoever has it.
RUN = {'stablehlo': "jax.export.deserialize(bytearray(open('{}', 'rb').read())).call(pictures)",
       'onnx': "onnxruntime.InferenceSession('{}').run(['probabilities'], {{'pictures': pictures}})[0]"}
_FORMAT = flags.DEFINE_enum('format', None, [*ENDINGS.values(), 'timm', 'huggingface'],
                            'Whose form the weights get; by default what the ending of the file says.')
_DTYPE = flags.DEFINE_enum('dtype', 'float32', ['float32', 'bfloat16'], 'Type of the numbers in a .safetensors file.')
_ABOUT = flags.DEFINE_string('about', '', 'A line on what the weights are; by default their step and folder.')


def check_place(name):
  """The format, and the place to write to; raises BadInput where it does not fit the format, or is taken."""
  out = paths.typed(name)
  kind = _FORMAT.value or ENDINGS.get(out.suffix)
  if not kind:
    raise BadInput(f'{name} must be a file ending in {", ".join(ENDINGS)}, or a folder with --format=timm or '
                   '--format=huggingface')
  endings = [ending for ending, value in ENDINGS.items() if value == kind]
  if endings and (out.suffix not in endings or out.is_dir()):
    raise BadInput(f'{name} must be a file ending in {endings[0]} for --format={kind}')
  beside = beside_of(out)
  if kind in RUN and beside.exists() and not (out.exists() and beside.is_file()):  # Not what was written here before.
    raise BadInput(f'{beside} exists already, and would describe the program; name another file')
  if not endings and out.exists():
    raise BadInput(f'{name} exists already; name a new folder')
  if not out.absolute().parent.is_dir():
    raise BadInput(f'{name} must be in a folder that exists')
  if not os.access(out.absolute().parent, os.W_OK):
    raise BadInput(f'{name} cannot be written: no permission to write to {out.absolute().parent}; name another place')
  return kind, out


def beside_of(out):
  """Where it is said what a program takes and gives."""
  return out.with_name(out.name + '.json')


def write_folder(out, named, **objects):
  """Writes model.safetensors and JSON files into a new folder, which is there whole or not at all."""
  from safetensors import numpy as safetensors

  with atomic.replacing(out) as partial:
    partial.mkdir()
    (partial / 'model.safetensors').write_bytes(safetensors.save(named, {'format': 'pt'}))
    for name, value in objects.items():
      (partial / f'{name}.json').write_text(json.dumps(value, indent=2) + '\n', encoding='utf-8')


def write_program(kind, out, model, flat, description, temperature):
  """Writes the program, and beside it a JSON file with its classes and how it is run."""
  from flax import traverse_util
  import jax.numpy as jnp

  from vit_jax.weights import program

  params = traverse_util.unflatten_dict({name: jnp.asarray(leaf) for name, leaf in flat.items()}, sep='/')
  size = description['preprocessing']['image_size']
  data = {'stablehlo': program.stablehlo, 'onnx': program.onnx}[kind](model, params, size, temperature)
  said = {'class_names': description['class_names'], 'preprocessing': description['preprocessing'],
          'takes': f'uint8 pictures [N, {size}, {size}, 3]', 'gives': f'float32 probabilities [N, {model.num_classes}]',
          'temperature': temperature, 'run': RUN[kind].format(out.name)}
  with atomic.replacing(out) as partial:
    partial.write_bytes(data)
    atomic.write(beside_of(out), json.dumps(said, indent=2) + '\n')


def main(arguments):
  """The command: weights and a place to write to; -> the exit status."""
  if len(arguments) != 2:
    raise BadInput('name a run folder and the file to write, e.g. runs/digits-seed0 digits.safetensors, or see --help')
  kind, out = check_place(arguments[1])
  command.start_jax()
  import numpy as np

  from vit_jax.weights import files
  from vit_jax.weights import load
  from vit_jax.weights import outward

  flat, description, about, calibrated = load.read_described(arguments[0])
  model = described.build(description | {'dtype': 'float32'})
  names, size = description['class_names'], description['preprocessing']['image_size']
  if kind == 'vit_jax':
    files.save(out, flat, description, _ABOUT.value or about, _DTYPE.value, calibrated)
  elif kind == 'npz':
    outward.check_npz(flat, model, size)
    with atomic.replacing(out) as partial, partial.open('wb') as file:
      np.savez(file, **flat)
  elif kind in RUN:
    if not names:
      raise BadInput(f'{arguments[0]} has no head, so that a program would answer nothing; train one with '
                     f'--config.init={arguments[0]}')
    write_program(kind, out, model, flat, description, calibrated.divisor if calibrated else 1.0)
  elif kind == 'timm':
    named, config = outward.to_timm(flat, model, names, size)
    write_folder(out, named, config=config)
  else:
    named, config, preprocessor = outward.to_huggingface(flat, model, names, size)
    write_folder(out, named, config=config, preprocessor_config=preprocessor)
  written = sum(os.path.getsize(path) for path in ([out] if out.is_file() else out.iterdir()))
  print(f'{about} -> {out}, {written / 1e6:.1f} MB')
  return 0


if __name__ == '__main__':
  command.run(main, interrupted=lambda: 'nothing was written', arguments=True)
