"""The pages of docs/, by Sphinx: `sphinx-build -W docs docs/_build`, after `pip install '.[docs]'`."""
project = 'vit_jax'
extensions = ['myst_parser']
exclude_patterns = ['_build']
html_title = 'vit_jax'
myst_heading_anchors = 3
myst_enable_extensions = ['dollarmath']
# Links out of docs/ lead to files of the repository, which are there where it is read as a folder.
suppress_warnings = ['myst.xref_missing']
