"""The run's metrics as TensorBoard events, beside `metrics.jsonl`."""
from vit_jax import quiet


class Writer:
  """Writes scalars to a folder that `tensorboard --logdir` reads."""

  def __init__(self, folder):
    tf = quiet.import_tensorflow()
    self.scalar = tf.summary.scalar
    self.writer = tf.summary.create_file_writer(str(folder))

  def write(self, step, line):
    """Writes every number of one line of metrics but its step."""
    with self.writer.as_default():
      for name, value in line.items():
        if name != 'step':
          self.scalar(name, value, step=step)

  def close(self):
    """Flushes what was written."""
    self.writer.close()


class Nothing:
  """The Writer of a process that writes nothing."""

  def write(self, step, line):
    """Writes nothing."""

  def close(self):
    """Nothing is to be flushed."""
