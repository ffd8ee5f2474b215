"""Paths as people type them."""
import os
import pathlib

from vit_jax.errors import BadInput

# Bytes that Linux, macOS and Windows allow in the name of a file.
LONGEST_NAME = 255


def is_possible(text):
  """Whether a file could have this path, whose bytes need not be UTF-8."""
  try:
    return '\0' not in text and all(len(os.fsencode(part)) <= LONGEST_NAME for part in text.split('/'))
  except UnicodeEncodeError:
    return False


def typed(text):
  """The path that somebody typed, with the home folder for ~; whether anything is there is not asked.

  Raises BadInput for what can be no path at all.
  """
  try:
    path = pathlib.Path(text).expanduser()
  except RuntimeError:
    raise BadInput(f'{text} begins with the home folder of nobody that this machine knows; write that folder '
                   'out') from None
  if not is_possible(str(path)):
    raise BadInput(f'{str(text)[:100]!r} must be of names that a file can have: without a zero byte, and of '
                   f'{LONGEST_NAME} bytes at most')
  return path


def name_of(path):
  """The last part of a path, also where it was typed as '.' or '..'."""
  return pathlib.Path(os.path.abspath(path)).name
