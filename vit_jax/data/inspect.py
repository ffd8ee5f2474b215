"""What is wrong with a data set, before an hour is spent on it: findings as plain data; nothing is changed.

Pictures that are nearly the same are a group (`duplicates`). A group in two parts is a leak: the test asks for what
was learned by heart. A group under two labels is a mistake of somebody's. The rest only costs time.
"""
import collections
import dataclasses
import itertools

import numpy as np

from vit_jax.data import duplicates
from vit_jax.data import source

# A class with fewer training pictures is hardly learned; one with fewer test pictures is hardly measured.
FEW_TRAIN, FEW_TEST = 20, 10
# The largest class may have so many times the training pictures of the smallest.
MAX_IMBALANCE = 10
# Longer than so many times its width, and the middle square shows less than half of a picture.
MAX_ASPECT = 2


@dataclasses.dataclass(frozen=True)
class Finding:
  """One thing that was found, in a sentence; `wrong` where results would be wrong, else it is worth a look."""
  kind: str  # 'files', 'classes', 'leaks', 'labels', 'repeats', 'sizes' or 'notes'
  wrong: bool
  text: str
  groups: tuple[tuple[int, ...], ...] = ()  # the pictures it is about: those that are the same together


@dataclasses.dataclass(frozen=True)
class Inspection:
  """A data set as it was found: its N pictures, those of one part after those of another."""
  name: str
  class_names: tuple[str, ...]
  parts: tuple[str, ...]
  pictures: source.Joined  # u8[N,S,S,3]
  labels: np.ndarray  # i32[N]
  part: np.ndarray  # i64[N], index into parts
  names: tuple[str, ...]  # files, or places in the parts
  group: np.ndarray  # i64[N], the first of those that are nearly the same
  twin: np.ndarray  # i64[N], the first of those whose pixels are equal
  sizes: np.ndarray | None = None  # i32[N,2], width and height of files
  unreadable: tuple[tuple[str, str], ...] = ()  # (file, reason)
  skipped: tuple[tuple[str, str], ...] = ()
  digests: tuple[str, ...] | None = None  # of files
  findings: tuple[Finding, ...] = ()

  @property
  def counts(self):
    """i64[parts,K]: pictures of each class in each part."""
    counts = np.zeros((len(self.parts), len(self.class_names)), np.int64)
    np.add.at(counts, (self.part, self.labels), 1)
    return counts

  @property
  def wrong(self):
    """Whether results on this data would be wrong."""
    return any(finding.wrong for finding in self.findings)


def inspect(data, folder=None, notes=None):
  """Looks for what is wrong with a source.DataSet: -> Inspection, the worst finding first.

  Where the data was read from files, `folder` is the `folder.Folder` whose pictures the parts of `data` index, and
  tells what only files tell. `notes` are findings that were made before, in the place of `data.notes`.
  """
  parts = {name: part for name, part in (
      ('train', data.train), ('validation', data.validation), ('test', data.test)) if len(part)}
  sources = list(parts.values())
  pictures = source.Joined(sources)
  rows = np.concatenate([part.rows for part in sources])
  part = np.repeat(np.arange(len(sources)), list(map(len, sources)))
  if folder is None:
    names = tuple(f'{name} {i}' for name, of_part in parts.items() for i in range(len(of_part)))
    of_files = {}
    hashes = duplicates.perceptual_hashes(pictures)
    group = duplicates.groups(len(rows), duplicates.near_duplicates(pictures, hashes))
  else:
    names = tuple(folder.files[row] for row in rows)
    of_files = dict(sizes=folder.sizes[rows], digests=tuple(folder.digests[row] for row in rows),
                    unreadable=folder.unreadable, skipped=folder.skipped)
    group = first_of_each(folder.groups[rows])
  found = Inspection(data.name, data.class_names, tuple(parts), pictures,
                     np.concatenate([part.labels for part in sources]), part, names, group, twins(pictures, group),
                     **of_files)
  if notes is None:
    notes = [] if folder else [Finding('notes', False, note) for note in data.notes]
  checks = (unreadable_files, bad_classes, leaks, two_labels, repeats, odd_sizes)
  findings = [*notes, *itertools.chain.from_iterable(check(found) for check in checks)]
  return dataclasses.replace(found, findings=tuple(sorted(findings, key=lambda finding: not finding.wrong)))


def first_of_each(values):
  """[N] -> i64[N], for each the index of the first that is equal."""
  _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
  return first[inverse]


def twins(pictures, group):
  """For each picture the first with equal pixels: u8[N,S,S,3], their groups i64[N] -> i64[N]."""
  twin = np.arange(len(group))
  for members in together(group):
    seen = {}
    for i in members:
      twin[i] = seen.setdefault(pictures[i].tobytes(), i)
  return twin


def together(group, chosen=None):
  """The groups that have several members among `chosen` (i64[], default: all): i64[N] -> [(index, …), …]."""
  chosen = np.arange(len(group)) if chosen is None else chosen
  chosen = chosen[np.argsort(group[chosen], kind='stable')]
  starts = np.flatnonzero(np.diff(group[chosen])) + 1
  return [tuple(members.tolist()) for members in np.split(chosen, starts) if len(members) > 1]


def some(texts, most=3):
  """The first few, and whether there are more."""
  return ', '.join(texts[:most]) + (', …' if len(texts) > most else '')


def several(count, what, plural=None):
  """'1 file', '1,200 files'."""
  return f'{count:,} {what if count == 1 else plural or what + "s"}'


def unreadable_files(found):
  """Files that cannot be read, and files that were no pictures."""
  for wrong, files, text in ((True, found.unreadable, 'cannot be read'), (False, found.skipped, 'left out')):
    if files:
      yield Finding('files', wrong, f'{several(len(files), "file")} {text}: '
                    + some([f'{name} ({reason})' for name, reason in files]))


def bad_classes(found):
  """Classes that have no pictures in a part, or few, or far fewer than others."""
  counts = dict(zip(found.parts, found.counts, strict=True))
  name = found.class_names
  for part, few in (('train', FEW_TRAIN), ('test', FEW_TEST)):
    if part not in counts:
      continue
    if empty := [name[i] for i in np.flatnonzero(counts[part] == 0)]:
      yield Finding('classes', True, f'{several(len(empty), "class", "classes")} without a picture in {part}: '
                    + some(empty))
    if tiny := [f'{name[i]} ({counts[part][i]})' for i in np.flatnonzero((counts[part] > 0) & (counts[part] < few))]:
      yield Finding('classes', False, f'{several(len(tiny), "class", "classes")} with fewer than {few} pictures in '
                    f'{part}: {some(tiny)}')
  if 'train' in counts:
    order = np.argsort(counts['train'], kind='stable')
    small, large = counts['train'][order[0]], counts['train'][order[-1]]
    if small and large > MAX_IMBALANCE * small:
      yield Finding('classes', False, f'imbalance: {name[order[-1]]} has {large:,} training pictures, '
                    f'{large / small:.0f} times those of {name[order[0]]} ({small:,})')


def leaks(found):
  """Pictures of one part that are in another too."""
  members = together(found.group)
  for a, b in itertools.combinations(range(len(found.parts)), 2):
    both = []
    for group in members:
      of_b, of_a = ([i for i in group if found.part[i] == part] for part in (b, a))
      if of_a and of_b:
        both.append((of_b, of_a))
    if not both:
      continue
    equal = lambda of_b, of_a: [i for i in of_b if found.twin[i] in found.twin[of_a]]
    total, leaked = np.sum(found.part == b), sum(len(of_b) for of_b, _ in both)
    exact = sum(len(equal(*pair)) for pair in both)
    both.sort(key=lambda pair: not equal(*pair))
    yield Finding('leaks', True, f'{leaked:,} of {total:,} {found.parts[b]} pictures ({leaked / total:.2%}) '
                  f'{"is" if leaked == 1 else "are"} in {found.parts[a]} too, {exact:,} of them with equal pixels',
                  # One of each first: of a large group only a few are shown.
                  tuple((of_b[0], of_a[0], *of_b[1:], *of_a[1:]) for of_b, of_a in both))


def two_labels(found):
  """The same picture under two labels."""
  wrong = [group for group in together(found.group) if len(set(found.labels[list(group)].tolist())) > 1]
  if wrong:
    names = collections.Counter(' and '.join(sorted({found.class_names[i] for i in found.labels[list(group)]}))
                                for group in wrong)
    yield Finding('labels', True, f'{several(len(wrong), "picture")} under two labels, '
                  + some([f'{name} ({count:,})' for name, count in names.most_common()]), tuple(wrong))


def repeats(found):
  """Pictures that repeat another one of their part."""
  for number, part in enumerate(found.parts):
    of_part = np.flatnonzero(found.part == number)
    if not (again := len(of_part) - len(np.unique(found.group[of_part]))):
      continue
    kinds = [f'{len(of_part) - len(np.unique(found.twin[of_part])):,} with equal pixels']
    if found.digests is not None:
      kinds.append(f'{len(of_part) - len({found.digests[i] for i in of_part}):,} as equal files')
    yield Finding('repeats', False, f'{again:,} of {len(of_part):,} {part} pictures repeat another one, '
                  + ', '.join(kinds), tuple(together(found.group, of_part)))


def odd_sizes(found):
  """Files that the model will not see as they are."""
  if found.sizes is None:
    return
  side = found.pictures.shape[1]
  short, long = found.sizes.min(axis=1), found.sizes.max(axis=1)
  for odd, text in ((short < side, f'smaller than {side} pixels and will be enlarged'),
                    (long > MAX_ASPECT * short, 'more than twice as long as wide; less than half of each is used')):
    if which := np.flatnonzero(odd).tolist():
      files = [f'{found.names[i]} ({found.sizes[i, 0]}×{found.sizes[i, 1]})' for i in which]
      yield Finding('sizes', False, f'{several(len(which), "picture")} {text}: {some(files)}')
