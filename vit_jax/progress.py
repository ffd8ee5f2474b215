"""What a person sees: one screen before training, a progress bar during it, the result after it."""
import io
import sys
import textwrap
import time

import tqdm

from vit_jax import energy

# Without a terminal, seconds between two plain lines.
PLAIN_EVERY = 10.0


def table(rows):
  """Rows of (word, text) as aligned lines; long texts are wrapped under themselves."""
  wrap = lambda text: textwrap.fill(text, 100, subsequent_indent=' ' * 10, break_on_hyphens=False,
                                    break_long_words=False, initial_indent=' ' * 10)[10:]
  return '\n'.join(f'{word:<10}{wrap(text)}' for word, text in rows)


def duration(seconds):
  """Seconds as a person says them: '42 s', '8 min 12 s', '3 h 05 min'."""
  seconds = round(seconds)
  minutes, rest = divmod(seconds, 60)
  hours, minutes_rest = divmod(minutes, 60)
  if hours:
    return f'{hours} h {minutes_rest:02d} min'
  return f'{minutes} min {rest:02d} s' if minutes else f'{seconds} s'


def number(value):
  """A number as a person reads it: '9,500', '349 k', '2.93 M', '35.1 G'."""
  for unit, size in (('T', 1e12), ('G', 1e9), ('M', 1e6), ('k', 1e3)):
    # From the size that rounds up to the unit; thousands only where five digits would be in the way.
    if value >= max(size * 0.9995, 100_000):
      return f'{value / size:.3g} {unit}'
  return f'{value:,}'


class Lines:
  """What tqdm is, for a file that is no terminal: plain lines, at most one in `PLAIN_EVERY` seconds, no last one.

  Takes tqdm's arguments, so that a library that shows its progress through tqdm can be given this class instead.
  """
  get_lock = tqdm.tqdm.get_lock

  def __init__(self, iterable=None, *, total=None, desc='', unit='it', file=None, **_):
    self.iterable = iterable
    # None or 0: nobody knows.
    self.total = len(iterable) if total is None and hasattr(iterable, '__len__') else total
    self.desc, self.unit, self.file = desc.rstrip(' .:…'), unit.strip(), file or sys.stderr
    self.n = 0
    self.started = self.last_line = time.monotonic()

  def __iter__(self):
    for item in self.iterable:
      yield item
      self.update()

  def update(self, n=1):
    """Counts `n` more."""
    self.n += n
    now = time.monotonic()
    if now - self.last_line >= PLAIN_EVERY:
      self.last_line = now
      of = f'/{self.total:,}' if self.total else ''
      rest = (self.total or 0) - self.n
      left = f' · {duration(rest * (now - self.started) / self.n)} left' if self.n and rest >= 0 else ''
      print(f'{self.desc} · {self.n:,}{of} {self.unit}{left}', file=self.file, flush=True)

  def refresh(self):
    """Nothing is drawn here that could be drawn again."""

  clear = close = refresh

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self.close()


def bar(*, total, desc, unit, file=None):
  """The progress of work outside training, for `with`: tqdm's bar, from the third second on, or `Lines`."""
  file = file or sys.stderr
  kind = tqdm.tqdm if file.isatty() else Lines
  return kind(total=total, desc=desc, unit=f' {unit}', file=file, delay=2, dynamic_ncols=True)


def track(items, *, total, desc, unit):
  """Hands items on, one after the other, and shows how many of `total` have been used."""
  with bar(total=total, desc=desc, unit=unit) as shown:
    for item in items:
      yield item
      shown.update(1)


class Progress:
  """A bar with images/s, loss, accuracy and ETA on a terminal; elsewhere a plain line every few seconds."""

  def __init__(self, *, start_step, total_steps, batch_size, file=sys.stderr, shown=True):
    self.file = file if shown else io.StringIO()
    self.total_steps = total_steps
    self.batch_size = batch_size
    self.step = self.start_step = start_step
    self.started = self.last_line = time.monotonic()
    self.shown = {}
    self.unread = False  # Whether whoever read the lines is gone.
    form = '{percentage:3.0f}% |{bar}| step {n_fmt}/{total_fmt}{postfix}  left {remaining}'
    self.bar = tqdm.tqdm(total=total_steps, initial=start_step, unit='step', file=self.file, dynamic_ncols=True,
                         disable=not self.file.isatty(), bar_format=form)

  def images_per_second(self):
    """Training speed since this start."""
    seconds = max(time.monotonic() - self.started, 1e-9)
    return (self.step - self.start_step) * self.batch_size / seconds

  def update(self, step, metrics, *, always=False):
    """Shows the newest metrics of a step; `always` writes a plain line however short the time since the last."""
    self.bar.update(step - self.step)
    self.step = step
    self.shown.update(metrics)
    names = {'loss': 'loss {:.3f}', 'accuracy': 'acc {:.1%}', 'val_accuracy': 'val {:.1%}'}
    texts = [text.format(self.shown[name]) for name, text in names.items() if name in self.shown]
    speed = self.images_per_second()
    self.bar.set_postfix_str(' · '.join([f'{speed:,.0f} images/s', *texts]))
    if self.bar.disable and (always or time.monotonic() - self.last_line >= PLAIN_EVERY):
      left = (self.total_steps - step) * self.batch_size / speed
      self.say(f'step {step}/{self.total_steps} · {speed:,.0f} images/s · {" · ".join(texts)} · {duration(left)} left')
      self.last_line = time.monotonic()

  def say(self, text):
    """Writes a line without cutting into the bar."""
    try:
      self.bar.write(text, file=self.file)
      self.file.flush()
    except BrokenPipeError:
      self.unread = True

  def close(self):
    """Ends the bar, leaving its last state on the screen."""
    self.bar.close()


def describe_result(result):
  """What result.json or an evaluation says, for a person."""
  accuracy = f'accuracy {result["test_accuracy"]:.2%}'
  if 'test_accuracy_flip' in result:
    accuracy += f' ({result["test_accuracy_flip"]:.2%} averaged over the flipped picture)'
  if 'test_top5' in result:
    accuracy += f', top-5 {result["test_top5"]:.2%}'
  rows = [('test', f'{accuracy}, loss {result["test_loss"]:.4f}, {result["test_count"]:,} pictures')]
  if 'seconds' in result:
    used = [f'{duration(result["cpu_seconds"])} of processor time'] if 'cpu_seconds' in result else []
    used += [f'{result["peak_memory"] / 1e9:.1f} GB of memory at most'] if result.get('peak_memory') else []
    rows.append(('time', ', '.join([duration(result['seconds']), *used])))
  if 'energy_kwh' in result:
    rows.append(('energy', energy.describe(result['energy_kwh'], result['co2_grams'], result['country'],
                                           result['energy_method'])))
  return table(rows)
