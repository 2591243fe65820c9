"""`python -m vidlm.miniature demo|tables|real_pixels`."""

import importlib
import os
import sys
from importlib import util

from vidlm.core import launch

_PROGRAMS = {
  'demo': 'the whole recipe, from drawn videos to scores and a page',
  'tables': "the paper's tables in miniature, over several seeds",
  'real_pixels': 'both models from scratch on your captioned videos',
}
# The extra `miniature` of pyproject.toml.
_NEEDED = ('jinja2', 'matplotlib', 'pymunk')


def main() -> None:
  """Runs the program that was named."""
  name, *argv = sys.argv[1:] or ['']
  if name not in _PROGRAMS:
    lines = '\n'.join(f'  {key:12} {text}' for key, text in _PROGRAMS.items())
    print(
      f'usage: python -m vidlm.miniature PROGRAM [--help]\n{lines}',
      file=sys.stdout if name in ('-h', '--help') else sys.stderr,
    )
    sys.exit(0 if name in ('-h', '--help') else 2)
  # Before an hour's work, not at the page that ends it.
  if missing := [x for x in _NEEDED if util.find_spec(x) is None]:
    names = ', '.join(missing)
    raise launch.fail(
      ImportError(f"{name} needs {names}: pip install 'vidlm[miniature]'")
    )
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  importlib.import_module(f'vidlm.miniature.{name}').main(argv)


if __name__ == '__main__':
  main()
