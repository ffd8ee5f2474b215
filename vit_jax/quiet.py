"""Keeps TensorFlow, absl and XLA from talking over what a person wants to read."""
import functools
import logging as python_logging
import os
import sys
import warnings

from absl import logging


def silence():
  """Turns the libraries' chatter down to errors; call it before any of them is imported."""
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')  # TensorFlow only reads pictures here.
  os.environ.setdefault('GRPC_VERBOSITY', 'ERROR')
  for name in ('jax', 'orbax', 'tensorflow', 'urllib3', 'tensorstore', 'h5py'):
    python_logging.getLogger(name).setLevel(python_logging.ERROR)
  # Programs that call oneDNN cannot be stored in the compilation cache; they are compiled again, which is all.
  warnings.filterwarnings('ignore', message='Error writing persistent compilation cache')
  # Pillow's warning of a picture that data/picture.py refuses, naming it.
  warnings.filterwarnings('ignore', message='Image size .* exceeds limit')
  logging.set_verbosity(logging.WARNING)
  logging.set_stderrthreshold('warning')
  # Our own warnings are written for a person to read; other people's are not.
  here = os.path.dirname(os.path.abspath(__file__)) + os.sep
  logging.get_absl_handler().addFilter(lambda record: os.path.abspath(record.pathname).startswith(here))
  logging.get_absl_handler().setFormatter(python_logging.Formatter('%(levelname)s: %(message)s'))


@functools.cache
def import_tensorflow():
  """TensorFlow, which takes seconds to import and is needed for tf.data alone; it gets no accelerator to occupy.

  Two fifths of these seconds would be Keras's, which it loads before anybody asks for it; `tf.keras` does so later.
  """
  hidden = 'keras' not in sys.modules
  if hidden:
    sys.modules['keras'] = None
  try:
    import tensorflow as tf
  finally:
    if hidden:
      sys.modules.pop('keras', None)  # Another thread may have been as quick.
  for kind in ('GPU', 'TPU'):
    try:
      tf.config.set_visible_devices([], kind)
    except (ValueError, RuntimeError):
      pass  # A kind that this build does not know, or devices that are in use already.
  return tf
