"""TensorFlow comes without Keras, which is there for whoever asks."""
import subprocess
import sys

CODE = '''
import sys, threading
from vit_jax import quiet
quiet.silence()
threads = [threading.Thread(target=quiet.import_tensorflow) for _ in range(2)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print([name for name in sys.modules if name.split('.')[0] == 'keras'])
tf = quiet.import_tensorflow()
print(tf.keras.layers.Dense(3)(tf.ones((1, 2))).shape)
'''


def test_keras_is_imported_when_somebody_asks():
  done = subprocess.run([sys.executable, '-c', CODE], capture_output=True, text=True, check=True)
  assert done.stdout.split('\n')[:2] == ['[]', '(1, 3)'], done.stderr
