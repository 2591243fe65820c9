"""`python -m dualenc`."""

from dualenc.cli import main

if __name__ == '__main__':
  main()
