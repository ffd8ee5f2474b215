"""Parts of a start: all are there, in order, and none is lost between them."""
import pathlib
import time

import pytest

from configs import digits
from vit_jax import config as config_lib
from vit_jax.benchmarks import startup
from vit_jax.errors import BadInput

PARTS = {'train': ['Python', 'flags', 'imports', 'data, model', 'run folder', 'trace the step', 'first weights',
                   'TensorFlow, compile', 'first batch', 'first step'],
         'predict': ['Python', 'flags', 'imports', 'weights', 'picture', 'compile, answer', 'end']}
TRACE = '''import time: self [us] | cumulative | imported package
import time:     50000 |      50000 |   json.decoder
import time:    100000 |     150000 | json
part: Python
something that a library says
import time:    200000 |     200000 |     numpy.linalg
import time:    300000 |     300000 |     zlib
import time:    400000 |     900000 |   numpy
part: imports
import time:      1000 |       1000 | too_late
'''


def test_imports_count_for_the_package_and_the_part():
  found = startup.imports(TRACE)
  assert found == {'Python': {'json': pytest.approx(.15)}, 'imports': {'numpy': pytest.approx(.6), 'zlib': .3}}
  assert list(found['imports']) == ['numpy', 'zlib']


def test_the_screen():
  text = startup.describe({'predict': {
      'first': {'Python': 1.0, 'imports': 4.0}, 'imports': {'imports': {'numpy': .6, 'zlib': .01}},
      'parts': {'Python': [.1, .2, .3], 'imports': [2.0, 1.0, 1.5]}}})
  assert 'an answer to one picture: 1.80 (1.20 to 2.10) s; the start before these took 5.00 s' in text
  assert 'imports           1.50 (1.00 to 2.00)       numpy 0.60' in text and 'zlib' not in text
  assert 'most of it is imports' in text


@pytest.fixture
def recipe(small_weights, tmp_path):
  config = digits.get_config()
  config.model.hidden_size, config.model.mlp_dim, config.model.num_layers = 16, 32, 1
  return startup.commands(tmp_path, config_lib.to_json(config), str(small_weights), tmp_path / 'cache')


@pytest.mark.slow
@pytest.mark.parametrize('name', ['train', 'predict'])
def test_a_real_start(recipe, tmp_path, name):
  before = time.time()
  parts, text = startup.start(tmp_path / 'parts.json', recipe[name](0), trace=name == 'predict')
  elapsed = time.time() - before
  assert list(parts) == PARTS[name]
  assert all(seconds >= 0 for seconds in parts.values())
  assert 0 < sum(parts.values()) <= elapsed  # What is missing is the end of a process that nobody waits for.
  if name == 'predict':
    found = startup.imports(text)
    assert 'jax' in found['imports'] and 'jax' not in found['flags']


@pytest.mark.slow
def test_a_mistake_is_the_commands_own(recipe, tmp_path):
  with pytest.raises(BadInput, match="weights 'no/such' do not exist"):
    startup.start(tmp_path / 'parts.json', ['vit_jax.predict', 'no/such', str(pathlib.Path(tmp_path / 'picture.png'))])
