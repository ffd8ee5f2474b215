"""A running demo, and a browser, for the tests beside this file; `weights`, what it shows, is the tests' own."""
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')


@pytest.fixture(scope='module')
def server(weights, free_port, tmp_path_factory):
  """A running demo: (address, process, its folder of pictures)."""
  pytest.importorskip('gradio', reason="gradio is missing: pip install 'vit_jax[demo_tests]'")
  temporary, port = tmp_path_factory.mktemp('temporary'), free_port()
  command = [sys.executable, '-m', 'vit_jax.demo', weights, f'--port={port}', f'--cache_dir={temporary / "cache"}']
  environment = {**os.environ, 'TMPDIR': str(temporary), 'GRADIO_ALLOWED_PATHS': '/', 'GRADIO_SHARE': 'True',
                 'GRADIO_ANALYTICS_ENABLED': 'True', 'HTTP_PROXY': 'http://127.0.0.1:9'}
  with open(temporary / 'errors', 'w') as errors:
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)
  lines = []
  for line in process.stdout:
    lines.append(line)
    if line.startswith('stop'):
      break
  address = next((line.split()[1] for line in lines if line.startswith('page')), None)
  assert address == f'http://127.0.0.1:{port}/', f'{lines} {(temporary / "errors").read_text()}'
  yield address, process, temporary
  process.kill()
  process.communicate()


@pytest.fixture(scope='module')
def httpx():
  return pytest.importorskip('httpx')


@pytest.fixture(scope='module')
def browser():
  playwright = pytest.importorskip('playwright.sync_api', reason="needs pip install 'vit_jax[demo_tests]'")
  if not CHROMIUM:
    pytest.skip('the page needs a browser: no chromium is on the path')
  with playwright.sync_playwright() as started:
    opened = started.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
    yield opened
    opened.close()
