"""What strangers send must not run: no pickle, no eval, nothing written outside its folder, no open door."""
import ast
import importlib.metadata
import pathlib
import re
import subprocess
import sys

from packaging import version
import pytest

from vit_jax import run

ROOT = pathlib.Path(__file__).parents[1]
SOURCES = sorted(path for folder in ('vit_jax', 'configs', 'experiments') for path in (ROOT / folder).rglob('*.py'))
# Modules that can run what they read, or hand it to a shell.
UNSAFE_MODULES = {'pickle', 'cPickle', 'dill', 'cloudpickle', 'joblib', 'marshal', 'shelve', 'yaml', 'tarfile',
                  'zipimport', 'commands'}
UNSAFE_BUILTINS = {'eval', 'exec', 'compile', '__import__'}
UNSAFE_METHODS = {'system', 'popen', 'unpack_archive', 'extractall'}


# Holes that are known in what is installed here, as of the beginning of 2026, where no service can be asked (pip-audit
# asks one, see .ci/run): {package: (the first version without it, the newest hole)}.
HOLES = {
    'filelock': ('3.20.3', 'CVE-2026-22701: a link in place of a lock'),
    'jinja2': ('3.1.6', 'CVE-2025-27516: out of the sandbox'),
    'pillow': ('11.3.0', 'CVE-2025-48379: DDS files, past the end of a buffer'),
    'protobuf': ('5.29.5', 'CVE-2025-4565: nesting without end'),
    'requests': ('2.32.4', 'CVE-2024-47081: passwords to the wrong host'),
    'scikit-learn': ('1.5.0', 'CVE-2024-5206: training data in a vocabulary'),
    'tqdm': ('4.66.3', 'CVE-2024-34062: eval of an argument'),
    'urllib3': ('2.6.0', 'CVE-2025-66418: decompression without end'),
    'werkzeug': ('3.0.6', 'CVE-2024-49767: forms without end'),
}


@pytest.mark.parametrize('package', sorted(HOLES))
def test_nothing_is_installed_that_is_known_to_have_a_hole(package):
  first, hole = HOLES[package]
  try:
    installed = importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    pytest.skip(f'{package} is not installed')
  assert version.Version(installed) >= version.Version(first), hole


def test_setup_asks_for_versions_without_known_holes():
  text = (ROOT / 'setup.py').read_text(encoding='utf-8')
  for package, bound in re.findall(r"'([\w-]+)>=([\d.]+)'", text):
    if package in HOLES:
      assert version.Version(bound) >= version.Version(HOLES[package][0]), HOLES[package][1]


def calls(tree):
  """The name of each function that is called, and the call."""
  for node in ast.walk(tree):
    if isinstance(node, ast.Call):
      name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, 'attr', '')
      yield name, node


@pytest.mark.parametrize('path', SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_source_can_run_what_it_reads(path):
  tree = ast.parse(path.read_text(encoding='utf-8'))
  imported = {alias.name.partition('.')[0] for node in ast.walk(tree) if isinstance(node, ast.Import)
              for alias in node.names}
  imported |= {node.module.partition('.')[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
  assert not imported & UNSAFE_MODULES
  for name, node in calls(tree):
    assert ast.unparse(node.func) != 'torch.load', node.lineno
    # A method called compile is jax's, one called eval torch's.
    unsafe = UNSAFE_BUILTINS if isinstance(node.func, ast.Name) else UNSAFE_METHODS
    assert name not in unsafe, (name, node.lineno)
    keywords = {keyword.arg: keyword.value for keyword in node.keywords}
    for word in ('shell', 'allow_pickle'):
      assert word not in keywords or keywords[word].value is False, (name, node.lineno)


@pytest.mark.slow
def test_nothing_is_unpickled_when_everything_is_imported():
  """All modules but the demo's, whose Gradio is an extra."""
  names = ['.'.join(path.relative_to(ROOT).with_suffix('').parts) for path in SOURCES
           if path.parts[len(ROOT.parts)] in ('vit_jax', 'configs') and path.stem != '__init__'
           and 'showing' not in path.parts and path.stem != 'twin']
  code = f"""import importlib, pickle
from absl import flags
def refuse(*_, **__): raise SystemExit('a pickle is opened')
from vit_jax import quiet
quiet.import_tensorflow()
pickle.load = pickle.loads = pickle.Unpickler = refuse
for name in {names}:
  try: importlib.import_module(name)
  except (flags.DuplicateFlagError, ModuleNotFoundError): pass  # Commands share names of flags; extras may miss.
print('all')"""
  done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=False)
  assert done.stdout.split() == ['all'], done.stderr[-2000:] + done.stdout


def test_numpy_opens_no_pickle_unless_it_is_told_to(tmp_path):
  import numpy as np
  np.save(tmp_path / 'objects.npy', np.array([{}], object), allow_pickle=True)
  with pytest.raises(ValueError, match='allow_pickle=False'):
    np.load(tmp_path / 'objects.npy')


def test_a_strangers_folder_cannot_have_files_outside_it_written(tmp_path):
  """Whatever is written in a run folder takes the place of a link there; what it leads to stays as it is."""
  outside = tmp_path / 'outside'
  outside.write_text('mine')
  folder = run.RunFolder(tmp_path / 'run')
  folder.make()
  for name in ('config.json', 'result.json', 'metrics.jsonl', 'evaluation.json'):
    (folder.path / name).symlink_to(outside)
  folder.write_json('result.json', {})
  folder.write_json('evaluation.json', {})
  folder.rewind_metrics(0)  # Before the first line of metrics is written.
  folder.log({'step': 1})
  assert outside.read_text() == 'mine' and folder.metrics() == [{'step': 1}]
