"""Files that are there whole or not at all."""
import contextlib
import os
import shutil


@contextlib.contextmanager
def replacing(path):
  """A path to write to, for `with`; at its end that file or folder takes the place of `path`.

  Till then `path` stays as it was. Where an exception comes between, it still does, and nothing else is left behind.
  """
  partial = path.with_name(f'.{path.name}.{os.getpid()}')
  try:
    yield partial
    if partial.is_file():  # Some libraries make files that nobody but the owner may read.
      open_up(partial, 0o666)
    os.replace(partial, path)
  except BaseException:
    if partial.is_dir():
      shutil.rmtree(partial, ignore_errors=True)
    with contextlib.suppress(OSError):
      partial.unlink(missing_ok=True)
    raise


def open_up(path, mode):
  """Gives a file or folder as much of `mode` as the user lets others have."""
  mask = os.umask(0)
  os.umask(mask)
  path.chmod(mode & ~mask)


def write(path, text):
  """Writes a text file whole or not at all: what was there before stays until the new text is on disk.

  What is no UTF-8, as names of files may be, is written as \\udcXX, which JSON reads as it was.
  """
  with replacing(path) as partial:
    partial.write_text(text, encoding='utf-8', errors='backslashreplace')
