"""Files that are there whole or not at all."""
import contextlib
import hashlib
import os
import shutil
import stat

# What the user lets others not have; it can only be asked for by setting it, which other threads would see.
_MASK = os.umask(0)
os.umask(_MASK)


@contextlib.contextmanager
def replacing(path):
  """A path to write to, for `with`; at its end that file or folder takes the place of `path`.

  Till then `path` stays as it was. Where an exception comes between, it still does, and nothing else is left behind.
  A file that is replaced hands its permissions on.
  """
  # Not longer than the longest of names.
  partial = path.with_name(f'.{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]}.{os.getpid()}')
  try:
    yield partial
    if partial.is_file():  # Some libraries make files that nobody but the owner may read.
      if path.is_file():
        partial.chmod(stat.S_IMODE(path.stat().st_mode))
      else:
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
  path.chmod(mode & ~_MASK)


def write(path, text):
  """Writes a text file whole or not at all: what was there before stays until the new text is on disk.

  What is no UTF-8, as names of files may be, is written as \\udcXX, which JSON reads as it was.
  """
  with replacing(path) as partial:
    partial.write_text(text, encoding='utf-8', errors='backslashreplace')
