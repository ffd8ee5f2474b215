"""Checks data before an hour is spent on it: corrupt files, duplicates, wrong labels, leaks into the test part.

  python -m vit_jax.inspect_data --path=~/pictures
      a folder with a folder for each class in it

  python -m vit_jax.inspect_data --config=configs/cifar_catdog.py
      the data of a recipe, which keys may change as in training (--config.data.classes=…)

Says on one screen what is wrong and what is worth a look, and writes a page that shows it. Nothing is changed.
"""

from absl import flags

from vit_jax import atomic
from vit_jax import command
from vit_jax import paths
from vit_jax.errors import BadInput

_PATH = flags.DEFINE_string('path', None, 'The folder of pictures to check, with a folder for each class in it.')
_HTML = flags.DEFINE_string('html', 'inspect.html', 'The page to write.')
_STRICT = flags.DEFINE_boolean('strict', False, 'End with exit status 1 where something is wrong.')
flags.adopt_module_key_flags(command)

# What a folder is looked at with where no recipe says it; as in configs/folder.py.
FOLDER = {'classes': (), 'image_size': 64, 'val_fraction': 0.1}


def with_size(config):
  """The config with the size of its pictures, which may be that of the weights it starts from."""
  from vit_jax import defaults
  from vit_jax.weights import load

  if config.data.image_size is not None:
    return config
  return defaults.from_weights(config, load.read(config.init)[1] if config.init else None)


def open_data(config, path, cache_dir):
  """Reads the data of a recipe or of a folder: -> (source.DataSet, folder.Folder or None, findings or None).

  A folder from which no parts can be made is still looked at: all of it as train, and what is in the way is a
  finding. Raises BadInput where there is nothing to look at.
  """
  from vit_jax.data import folder as folder_lib
  from vit_jax.data import inspect
  from vit_jax.data import load
  from vit_jax.data import source

  options, clear_of = FOLDER | {'name': 'folder', 'data_dir': None, 'path': path}, ()
  if config is not None:
    data = with_size(config).data
    options = {name: data[name] for name in ('name', *FOLDER)} | {'data_dir': data.dir, 'path': data.path}
    path, clear_of = data.path, data.clear_of
  if options['name'] != 'folder':
    return load.load(cache_dir=cache_dir, clear_of=clear_of, **options), None, None
  found = folder_lib.read(path, cache_dir=cache_dir, image_size=options['image_size'])
  try:
    data = folder_lib.load(path, cache_dir=cache_dir, **{name: options[name] for name in FOLDER})
  except BadInput as error:
    if not found.files:
      raise
    everything = source.Source.whole(found.images, found.labels)
    nothing = everything.take(everything.rows[:0])
    name = paths.typed(path).resolve().name
    data = source.DataSet(name, found.class_names, everything, nothing, nothing)
    return data, found, [inspect.Finding('classes', True, str(error))]
  if not clear_of:
    return data, found, None
  data = load.load(cache_dir=cache_dir, clear_of=clear_of, **options)
  return data, found, [inspect.Finding('notes', False, data.notes[-1])]


def summary(found, html):
  """An Inspection as one screen of text."""
  from vit_jax import progress

  counts = found.counts
  sizes = ', '.join(f'{progress.number(int(count))} {part}' for part, count in zip(found.parts, counts.sum(axis=1),
                                                                                 strict=True))
  names = [f'{name} {count:,}' for name, count in zip(found.class_names, counts[0].tolist(), strict=True)]
  side = found.pictures.shape[1]
  return progress.table([
      ('data', f'{found.name}: {sizes} pictures of {side}×{side}'),
      ('classes', f'{len(names):,}, {found.parts[0]} pictures of each: ' + ', '.join(names[:10])
       + (', …' if len(names) > 10 else '')),
      *(('wrong' if finding.wrong else 'look', finding.text) for finding in found.findings),
      *([] if found.findings else [('good', 'nothing to complain about')]),
      ('page', html)])


def main():
  """The command: flags in, exit status out."""
  config = command.read_config()
  if config is None and _PATH.value is None:
    raise BadInput('nothing to inspect; name a folder with --path=… or a recipe with --config=…, or see --help')
  if config is not None and _PATH.value is not None:
    raise BadInput(f'--path={_PATH.value} and --config are two different things to inspect; give one of them')
  html = command.writable('html', _HTML.value)
  from vit_jax import inspect_page
  from vit_jax.data import inspect

  found = inspect.inspect(*open_data(config, _PATH.value, command.cache_dir()))
  try:
    atomic.write(html, inspect_page.render(found))
  except OSError as error:
    raise BadInput(f'--html={html} cannot be written ({error.strerror}); name another place') from None
  print(summary(found, str(html)))
  return 1 if _STRICT.value and found.wrong else 0


if __name__ == '__main__':
  command.run(main, interrupted=lambda: 'nothing was written')
