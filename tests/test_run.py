"""The run folder: what is written can be read, and nobody's files are touched."""
import json
import stat
import subprocess
import sys

import pytest

from configs import digits
from vit_jax import atomic
from vit_jax import run
from vit_jax.errors import BadInput
from vit_jax.models import described
from vit_jax.models import variants


@pytest.fixture
def config():
  return digits.get_config()


DATA = {'name': 'digits', 'class_names': ['0', '1'], 'counts': {'train': [3, 4], 'test': [1, 1]}, 'fingerprint': 'a'}


def create(path, config, data=DATA):
  model = variants.build('small-digits', num_classes=10, image_size=8)
  folder = run.open_run(path, config)
  folder.create(config, described.describe(model, '0123456789', 8), data)
  return folder


def test_opening_writes_nothing(tmp_path, config):
  run.open_run(tmp_path / 'new', config)
  assert not (tmp_path / 'new').exists()


def test_config_and_model_come_back(tmp_path, config):
  folder = create(tmp_path / 'new', config)
  assert folder.config().to_dict() == config.to_dict()
  assert folder.config().is_locked
  model = described.build(folder.read_json('model.json'))
  assert model == variants.build('small-digits', num_classes=10)


def test_a_run_of_an_older_version_gets_the_keys_that_have_come_since(tmp_path, config):
  folder = create(tmp_path / 'new', config)
  old = folder.read_json('config.json')
  del old['data']['path'], old['model']['patch_dropout'], old['keep']
  old['model']['num_layers'] = 5
  folder.write_json('config.json', old)
  config.model.num_layers = 5
  assert folder.config().to_dict() == config.to_dict()
  assert run.open_run(tmp_path / 'new', config).path == folder.path


def test_environment_gets_an_entry_a_start(tmp_path, config):
  folder = create(tmp_path / 'new', config)
  create(tmp_path / 'new', config)
  starts = folder.read_json('environment.json')
  assert len(starts) == 2
  assert starts[0]['versions']['jax'] and starts[0]['devices'] and starts[0]['processor']


def test_another_config_is_refused_and_each_key_named(tmp_path, config):
  create(tmp_path / 'new', config)
  config.optim.lr = 0.5
  config.seed = 3
  with pytest.raises(BadInput, match=r'optim\.lr: 0\.003 there, 0\.5 now; seed: 0 there, 3 now'):
    run.open_run(tmp_path / 'new', config)
  assert json.loads((tmp_path / 'new' / 'config.json').read_text())['seed'] == 0


@pytest.mark.parametrize('change', [{'fingerprint': 'b'}, {'counts': {'train': [4, 4], 'test': [1, 1]}},
                                    {'class_names': ['1', '0']}])
def test_other_pictures_are_refused(tmp_path, config, change):
  create(tmp_path / 'new', config)
  create(tmp_path / 'new', config, {**DATA, 'notes': ['only said']})
  before = {path.name: path.read_bytes() for path in (tmp_path / 'new').iterdir()}
  with pytest.raises(BadInput, match=r'the pictures have changed since .*new began \(7 train, 2 test then, \d train'):
    create(tmp_path / 'new', config, {**DATA, **change})
  assert {path.name: path.read_bytes() for path in (tmp_path / 'new').iterdir()} == before


def test_foreign_folder_is_refused_and_left_alone(tmp_path, config):
  (tmp_path / 'thesis.tex').write_text('mine')
  with pytest.raises(BadInput, match='holds files but no run'):
    run.open_run(tmp_path, config)
  assert [path.name for path in tmp_path.iterdir()] == ['thesis.tex']


def test_a_name_that_checkpoints_cannot_have(tmp_path, config):
  with pytest.raises(BadInput, match='has a name that is not UTF-8'):
    run.open_run(tmp_path / 'caf\udce9', config)


def test_file_in_place_of_a_folder(tmp_path, config):
  (tmp_path / 'file').write_text('mine')
  with pytest.raises(BadInput, match='is a file'):
    run.open_run(tmp_path / 'file', config)
  with pytest.raises(BadInput, match='cannot be written'):
    run.open_run(tmp_path / 'file' / 'below', config)


def test_unwritable_folder(tmp_path, config, monkeypatch):
  # Root may write anywhere, so the answer of the system is made up.
  monkeypatch.setattr(run.os, 'access', lambda path, mode: False)
  with pytest.raises(BadInput, match='no permission to write'):
    run.open_run(tmp_path / 'new', config)


def test_reading_what_is_no_run(tmp_path):
  with pytest.raises(BadInput, match=r'is not a run of vit_jax: config\.json is missing'):
    run.RunFolder(tmp_path).config()
  for text in ('{"seed": ', '[]', '{"data": 3}'):
    (tmp_path / 'config.json').write_text(text)
    with pytest.raises(BadInput, match=r'config\.json is damaged'):
      run.RunFolder(tmp_path).config()


HOLD = """
import sys, time
from vit_jax import run
with run.RunFolder(sys.argv[1]).locked():
  run.RunFolder(sys.argv[1]).note_environment()
  print('held', flush=True)
  time.sleep(600)
"""


def test_one_process_at_a_time_and_a_killed_one_holds_nothing(tmp_path):
  path = tmp_path / 'runs' / 'mine'
  holder = subprocess.Popen([sys.executable, '-c', HOLD, path], stdout=subprocess.PIPE, text=True)
  assert holder.stdout.readline() == 'held\n'
  with pytest.raises(BadInput, match=f'process {holder.pid} on .+, since 20'), run.RunFolder(path).locked():
    pytest.fail('two hold it')
  holder.kill()
  holder.communicate()
  assert (path / run.LOCK).exists()
  with run.RunFolder(path).locked(), pytest.raises(BadInput, match='is being trained in'), run.RunFolder(path).locked():
    pytest.fail('two hold it')


def test_a_start_that_fails_leaves_no_folder(tmp_path):
  with pytest.raises(ZeroDivisionError), run.RunFolder(tmp_path / 'new').locked():
    raise ZeroDivisionError
  assert not (tmp_path / 'new').exists()


def test_a_lock_alone_is_no_foreign_file(tmp_path, config):
  (tmp_path / run.LOCK).touch()
  run.open_run(tmp_path, config)


def test_rewinding_forgets_later_lines_and_half_ones(tmp_path):
  (tmp_path / 'config.json').touch()  # By which a folder is known that was not deleted meanwhile.
  folder = run.RunFolder(tmp_path)
  assert folder.rewind_metrics(0) == {}
  for step in (10, 20, 30):
    folder.log({'step': step, 'seconds': step / 10})
  with folder.metrics_path.open('a') as f:
    f.write('{"step": 40, "sec')  # A kill in the middle of a line.
  assert folder.rewind_metrics(20) == {'step': 20, 'seconds': 2.0}
  assert folder.metrics() == [{'step': 10, 'seconds': 1.0}, {'step': 20, 'seconds': 2.0}]


def test_atomic_writing_keeps_the_old_file_when_it_fails(tmp_path, monkeypatch):
  path = tmp_path / 'result.json'
  atomic.write(path, 'old')
  monkeypatch.setattr(atomic.os, 'replace', lambda *_: (_ for _ in ()).throw(OSError('disk full')))
  with pytest.raises(OSError, match='disk full'):
    atomic.write(path, 'new')
  assert path.read_text() == 'old'


def test_atomic_writing_takes_the_longest_name_and_keeps_permissions(tmp_path):
  path = tmp_path / ('n' * 255)
  atomic.write(path, 'old')
  path.chmod(0o600)
  atomic.write(path, 'new')
  assert path.read_text() == 'new' and stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize('make', [lambda path: path.write_text('half'), lambda path: path.mkdir()])
def test_atomic_writing_that_is_interrupted_leaves_nothing_behind(tmp_path, make):
  with pytest.raises(KeyboardInterrupt), atomic.replacing(tmp_path / 'w.npz') as partial:
    make(partial)
    raise KeyboardInterrupt
  assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_looked_into_is_one_line(tmp_path):
  (tmp_path / 'file').touch()
  with pytest.raises(BadInput, match=r'file is not a run of vit_jax: config\.json is missing'):
    run.RunFolder(tmp_path / 'file').config()
  (tmp_path / 'config.json').mkdir()
  with pytest.raises(BadInput, match=r'config\.json cannot be read \(Is a directory\)'):
    run.RunFolder(tmp_path).config()


def test_a_closed_folder_above_is_one_line(tmp_path, config, monkeypatch):
  # Root may look anywhere, so the answer of the system is made up.
  stat = run.os.stat
  def closed(path, **options):
    if 'closed' in str(path):
      raise PermissionError(13, 'Permission denied')
    return stat(path, **options)
  monkeypatch.setattr(run.os, 'stat', closed)
  monkeypatch.setattr(run.os, 'access', lambda path, mode: False)
  with pytest.raises(BadInput, match='no permission to write'):
    run.open_run(tmp_path / 'closed' / 'new', config)


def test_times_are_of_the_step_where_a_start_was_stopped(tmp_path):
  folder = run.RunFolder(tmp_path)
  assert folder.times_at(3) == {}
  folder.write_json('clock.json', {'step': 3, 'seconds': 1.5})
  assert folder.times_at(3) == {'seconds': 1.5} and folder.times_at(2) == {}
