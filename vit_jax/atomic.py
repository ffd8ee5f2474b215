"""Files that are there whole or not at all."""
import contextlib
import os


@contextlib.contextmanager
def replacing(path):
  """A path to write to, for `with`; at its end that file takes the place of `path`, which stays as it was till then."""
  partial = path.with_name(f'.{path.name}.{os.getpid()}')
  yield partial
  if partial.is_file():  # Some libraries make files that nobody but the owner may read.
    mask = os.umask(0)
    os.umask(mask)
    partial.chmod(0o666 & ~mask)
  os.replace(partial, path)


def write(path, text):
  """Writes a text file whole or not at all: what was there before stays until the new text is on disk."""
  with replacing(path) as partial:
    partial.write_text(text, encoding='utf-8')
