"""Metadata and dependencies; `pyproject.toml` configures tools only."""
import pathlib
import re

import setuptools

HERE = pathlib.Path(__file__).parent
VERSION = re.search(r"__version__ = '(.+)'", (HERE / 'vit_jax' / '__init__.py').read_text()).group(1)

setuptools.setup(
    name='vit_jax',
    version=VERSION,
    description='The Vision Transformer in JAX/Flax, for small data and small machines',
    long_description=(HERE / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.11',
    packages=setuptools.find_packages(include=['vit_jax', 'vit_jax.*', 'configs']),
    package_data={'vit_jax': ['*.html', 'py.typed', 'pretrained/*'], 'vit_jax.data': ['*.txt', '*.tsv'],
                  'vit_jax.showing': ['*.css'], 'vit_jax.reporting': ['*.html', '*.css', '*.md'],
                  'vit_jax.sweeping': ['*.html']},
    install_requires=[
        'jax>=0.10',  # arrays, gradients, jit
        'flax>=0.12',  # Linen modules
        'optax>=0.2.8',  # AdamW, Muon, schedules
        'orbax-checkpoint>=0.11.36',  # checkpoints that survive a kill
        'ml-collections>=1.1',  # configs that flags can override
        'absl-py>=2.1',  # flags and logging
        'numpy>=2.0',  # what happens on the host
        'tqdm>=4.66.3',  # the progress bar
        'tensorflow-datasets>=4.9.10',  # any image set by name; 4.9.9 fails beside today's protobuf
        'importlib_resources>=6.0',  # tensorflow-datasets imports it without declaring it
        # tf.data reads the pictures; nothing is computed in TensorFlow, so that its CPU build will do.
        'tensorflow-cpu>=2.20; sys_platform == "linux" and platform_machine == "x86_64"',
        'tensorflow>=2.20; sys_platform != "linux" or platform_machine != "x86_64"',
        'tensorboard>=2.20',  # tensorflow writes events through it; and to look at them
        'scikit-learn>=1.5',  # the embedded set of digits
        'pillow>=11.3',  # reads the pictures of a folder, whatever their format
        'imagehash>=4.3',  # finds near-duplicates, so that the test part holds no picture of train
        'scipy>=1.15',  # lays near-duplicates one over the other; exact small tests; imagehash needs it too
        'safetensors>=0.8',  # weights as one file that runs no code; this version reads bfloat16 into numpy
        'filelock>=3.20.3',  # one process in a run folder at a time
        'jinja2>=3.1.6',  # the page that inspect_data writes, with every name escaped
    ],
    extras_require={
        'cuda': ['jax[cuda]'],  # NVIDIA GPUs
        'tpu': ['jax[tpu]'],  # Cloud and Colab TPUs
        'heic': ['pillow-heif>=0.18'],  # the pictures of many telephones
        'energy': ['codecarbon>=3.3'],  # what a run costs in electricity and CO2
        'hub': ['huggingface_hub>=1.0'],  # weights by their name on the Hugging Face Hub, and a run's model card
        'onnx': ['jax2onnx>=0.16'],  # models as ONNX programs
        # Many runs of a recipe: which values to try, and jobs of Slurm; psycopg where PostgreSQL keeps the trials.
        'sweep': ['optuna>=5.0', 'submitit>=1.5.4', 'psycopg[binary]>=3.3'],
        'docs': ['sphinx>=8.1', 'myst-parser>=4.0'],  # the pages of docs/, written in Markdown
        'writeup': ['typst>=0.14'],  # the write-up and the poster, as PDFs
        'figures': ['matplotlib>=3.9'],  # the pictures of experiments/
        'benchmarks': ['torch>=2.14', 'timm>=1.0.31'],  # what vit_jax.benchmark --what=peers measures beside
        # The page of vit_jax.demo. It holds Pillow below 13; to be updated with care, since it guards what is uploaded.
        'demo': ['gradio>=6.31,<7'],
        # What the tests of that page in a browser need, besides a Chromium on the path; without them they are skipped,
        # as everywhere else: they take a server and a browser, and so more time than all others.
        'demo_tests': ['gradio>=6.31,<7', 'playwright>=1.50'],
        'tests': [
            'pytest>=8',
            'pytest-xdist>=3.6',  # tests on all cores
            'build>=1.2',  # the wheel is built and tried
            'ruff>=0.8',  # style
            'mypy>=1.18',  # the types of what other code may call
            'huggingface_hub>=1.0',  # names on the Hub are looked up in a cache, as with the extra hub
            'codecarbon>=3.3',  # energy is counted as with the extra of that name
            'optuna>=5.0', 'submitit>=1.5.4',  # values are tried, as with the extra sweep; PostgreSQL's tests need more
            'sphinx>=8.1', 'myst-parser>=4.0',  # the pages of docs/ are built, as with the extra docs
            'typst>=0.14',  # the write-up is made, as with the extra of that name
            'nbconvert>=7.16', 'ipykernel>=6.29',  # the notebook is executed
        ],
    },
)
