"""Your own pictures, end to end as a user would: a folder is trained on, evaluated, changed, and refused."""
import json
import pathlib
import subprocess
import sys

import numpy as np
from PIL import Image
import pytest

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
  """Three hundred pictures of stripes over coloured blots, across or down, and two files that are none."""
  root = tmp_path_factory.mktemp('folder') / 'pictures'
  rng = np.random.default_rng(0)
  for i in range(300):
    blots = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8)).resize((40, 48), Image.Resampling.BICUBIC)
    stripes = 50 * np.sin(np.arange(48) * rng.uniform(0.7, 1.4) + rng.uniform(0, 6))[:, None, None]
    if i % 2:
      stripes = stripes.swapaxes(0, 1)[:, :40]
    path = root / ('across', 'down')[i % 2] / f'{i}.{("png", "bmp", "jpg", "webp")[i % 4]}'
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(np.asarray(blots) + stripes, 0, 255).astype(np.uint8)).save(path)
  (root / 'down' / 'broken.jpg').write_bytes(b'\xff\xd8\xff\xe0 no more than a beginning')
  (root / 'notes.txt').write_text('bought the paper in May')
  return root


def main(*flags):
  return subprocess.run([sys.executable, '-m', 'vit_jax.main', *flags], cwd=ROOT, text=True, capture_output=True,
                        check=False)


def command(root):
  return (f'--config={ROOT}/configs/folder.py', f'--config.data.path={root}', '--config.data.image_size=32',
          '--config.epochs=12.0', '--config.model.num_layers=1', '--config.model.hidden_size=32',
          '--config.model.stem_channels=(16,32)', f'--workdir={root.parent / "run"}',
          f'--cache_dir={root.parent / "cache"}')


@pytest.mark.slow
def test_a_folder_is_trained_on_and_evaluated_and_a_change_is_refused(pictures):
  trained = main(*command(pictures))
  assert trained.returncode == 0, trained.stderr
  # A fifth of 150 for the test, a tenth of the rest for validation.
  assert '216 train, 24 validation, 60 test pictures of 32×32; 2 classes: across, down' in trained.stdout
  assert 'down/broken.jpg' in trained.stdout and 'notes.txt' in trained.stdout
  assert 'by the number of pictures: model.variant=small-conv_8, batch_size=32' in ' '.join(trained.stdout.split())
  workdir = pictures.parent / 'run'
  result = json.loads((workdir / 'result.json').read_text())
  assert result['test_accuracy'] > 0.9 and result['test_count'] == 60  # A guess would be 0.5.
  data = json.loads((workdir / 'data.json').read_text())
  assert {part: sum(counts) for part, counts in data['counts'].items()} == {'train': 216, 'validation': 24, 'test': 60}
  assert data['chosen']['batch_size'] == 32 and 'epochs' not in data['chosen']

  evaluate = ('--evaluate', f'--workdir={workdir}', f'--cache_dir={pictures.parent / "cache"}')
  assert f'accuracy {result["test_accuracy"]:.2%}' in main(*evaluate).stdout
  (pictures / 'across' / 'one more.webp').write_bytes((pictures / 'down' / '3.webp').read_bytes())
  changed = main(*evaluate)
  assert changed.returncode == 2 and 'the pictures have changed' in changed.stderr, changed.stderr


@pytest.mark.parametrize('path, message', [
    ('', 'data.path is empty; name your folder of pictures with --config.data.path='),
    ('/nowhere/at/all', 'data.path=/nowhere/at/all does not exist')])
def test_a_wrong_path_is_one_line(path, message, tmp_path):
  done = main(f'--config={ROOT}/configs/folder.py', f'--config.data.path={path}', f'--workdir={tmp_path / "run"}')
  assert done.returncode == 2 and done.stderr.startswith('error: ') and len(done.stderr.splitlines()) == 1
  assert message in done.stderr
  assert not (tmp_path / 'run').exists()
