"""The one exception that a person is meant to read."""
import difflib
import re


class BadInput(ValueError):
  """Something the user gave cannot work; the message carries the value and the way out.

  The commands print it as one line and exit with status 2. Anything else that is raised is a bug of
  ours and keeps its traceback.
  """


def choose(name, known, what):
  """Returns `name` if it is one of `known`; else raises BadInput that lists the nearest ones."""
  if name in known:
    return name
  near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
  names = list(map(str, known))
  hint = f'did you mean {" or ".join(near)}?' if near else f'known: {", ".join(names[:20])}{", …" * (len(names) > 20)}'
  raise BadInput(f'{what} {name!r} is unknown; {hint}')


def one_line(error):
  """What an exception says, cut to a line."""
  return ' '.join(repr(error).split())[:200]


def reason(error):
  """Why a file could not be written, in a few words, from whatever a library raised for it."""
  if isinstance(error, OSError) and error.strerror:
    return error.strerror
  known = re.search(r'No space left on device|File too large|Read-only file system|Disk quota exceeded|'
                    r'Permission denied|No such file or directory|Input/output error', str(error))
  return known.group() if known else one_line(error)
