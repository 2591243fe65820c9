"""`python -m vidlm.miniature demo|tables|real_pixels`."""

import importlib
import os
import sys

_PROGRAMS = {
  'demo': 'the whole recipe, from drawn videos to scores and a page',
  'tables': "the paper's tables in miniature, over several seeds",
  'real_pixels': 'both models from scratch on your captioned videos',
}


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
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  importlib.import_module(f'vidlm.miniature.{name}').main(argv)


if __name__ == '__main__':
  main()
