"""Makes launch/colab.ipynb of launch/colab.py, and runs it.

  pip install -e '.[notebook]'
  python launch/notebook.py

The notebook is kept with what its cells gave, so that it can be read without
being run.  `tests/test_notebook.py` holds the two files to one another.
"""

import os
import pathlib

import jupytext
import nbclient
import nbformat

HERE = pathlib.Path(__file__).parent
SCRIPT, NOTEBOOK = HERE / 'colab.py', HERE / 'colab.ipynb'


def read(script: pathlib.Path = SCRIPT) -> nbformat.NotebookNode:
  """The notebook of the script, with ids that do not change."""
  notebook = jupytext.read(script)
  notebook.metadata.pop('jupytext', None)
  notebook.nbformat, notebook.nbformat_minor = 4, 5
  for number, cell in enumerate(notebook.cells):
    cell.id = f'cell-{number}'
  return notebook


def execute(
  notebook: nbformat.NotebookNode, folder: pathlib.Path
) -> nbformat.NotebookNode:
  """Runs all cells in a folder; an error in one is an error here."""
  client = nbclient.NotebookClient(
    notebook,
    timeout=1800,
    kernel_name='python3',
    resources={'metadata': {'path': os.fspath(folder)}},
  )
  return client.execute()


def main() -> None:
  """Writes the notebook, executed beside the script."""
  nbformat.write(execute(read(), HERE), NOTEBOOK)


if __name__ == '__main__':
  main()
