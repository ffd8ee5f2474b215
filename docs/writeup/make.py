"""Makes the write-up and the poster from the committed results: `pip install '.[writeup]'`, then this."""
import pathlib

import typst

HERE = pathlib.Path(__file__).parent


def make(folder):
  """Writes writeup.pdf and poster.pdf into a folder; they read experiments/*/results.csv."""
  for name in ('writeup', 'poster'):
    typst.compile(HERE / f'{name}.typ', output=pathlib.Path(folder) / f'{name}.pdf', root=HERE.parents[1])


if __name__ == '__main__':
  make(HERE)
