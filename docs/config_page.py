"""Writes config.md, the page of every config key, from the comments in configs/common.py.

    python docs/config_page.py
"""
import ast
import pathlib

HERE = pathlib.Path(__file__).parent
SOURCE = HERE.parent / 'configs' / 'common.py'
HEAD = '''# Every config key

Made of the comments in [configs/common.py](../configs/common.py) by `python docs/config_page.py`. Any key can be given
on the command line, as `--config.optim.lr=1e-3`; a recipe in `configs/` sets its own values. `None` leaves the choice
to something else, as the text says.

| key | default | what it is |
|---|---|---|
'''


def comment_above(lines, end):
  """The comment that ends above a line of this index, as text."""
  start = end
  while lines[start - 1].strip().startswith('#'):
    start -= 1
  return ' '.join(line.strip().lstrip('# ') for line in lines[start:end])


def keys(source):
  """(key, default, text) of each config key in Python source that assigns them below their comments."""
  lines = source.splitlines()
  function = next(node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef))
  for node in function.body:
    if not isinstance(node, ast.Assign) or not isinstance(target := node.targets[0], ast.Attribute):
      continue
    default = ast.unparse(node.value)
    if default != 'ml_collections.ConfigDict()':
      yield (f'{target.value.id}.{target.attr}'.removeprefix('config.'),
             'None' if 'placeholder' in default else default, comment_above(lines, node.lineno - 1))


def page(source):
  """The page, as Markdown."""
  cell = lambda text: text.replace('|', r'\|')
  rows = [f'| `{key}` | `{cell(default)}` | {cell(text)} |' for key, default, text in keys(source)]
  return HEAD + '\n'.join(rows) + '\n'


if __name__ == '__main__':
  (HERE / 'config.md').write_text(page(SOURCE.read_text(encoding='utf-8')), encoding='utf-8')
