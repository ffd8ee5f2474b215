"""The notebook for Colab, executed whole on this machine's CPU, with a release as it would be installed there."""
import os
import pathlib
import subprocess
import sys

import pytest

NOTEBOOK = pathlib.Path(__file__).parents[1] / 'notebooks' / 'vit_jax_colab.ipynb'
nbformat = pytest.importorskip('nbformat')


def test_it_holds_no_answers_of_a_machine():
  cells = nbformat.read(NOTEBOOK, as_version=4).cells
  assert [cell for cell in cells if cell.get('outputs') or cell.get('execution_count')] == []


@pytest.mark.slow
def test_it_installs_trains_evaluates_and_explains(wheel, tmp_path):
  notebook = nbformat.read(NOTEBOOK, as_version=4)
  at = next(i for i, cell in enumerate(notebook.cells) if 'parameters' in cell.metadata.get('tags', ()))
  small = '--config.epochs=1.2 --config.optim.warmup_epochs=0.5 --config.model.patch_size=2 --config.model.num_layers=1'
  notebook.cells.insert(at + 1, nbformat.v4.new_code_cell(f'SOURCE, FLAGS = {str(wheel)!r}, {small!r}'))
  nbformat.write(notebook, tmp_path / 'small.ipynb')
  # pip puts the wheel into a folder of its own, beside what is installed; there Python finds it first.
  installed = tmp_path / 'installed'
  done = subprocess.run(
      [sys.executable, '-m', 'nbconvert', '--to', 'notebook', '--execute', 'small.ipynb', '--output', 'done.ipynb'],
      cwd=tmp_path, text=True, capture_output=True, check=False,
      env={**os.environ, 'PYTHONPATH': str(installed), 'PIP_TARGET': str(installed), 'PIP_NO_DEPS': '1'})
  assert done.returncode == 0, done.stderr[-5000:]
  outputs = [output for cell in nbformat.read(tmp_path / 'done.ipynb', as_version=4).cells if cell.cell_type == 'code'
             for output in cell.outputs]
  printed = ''.join(output.text for output in outputs if output.output_type == 'stream')
  assert (installed / 'vit_jax' / 'main.py').exists()
  assert 'digits: 1,295 train' in printed and 'test      accuracy' in printed and 'digit_7.png' in printed
  assert sum('image/png' in output.get('data', {}) for output in outputs) == 2
  assert (tmp_path / 'runs' / 'digits' / 'report.html').exists()
