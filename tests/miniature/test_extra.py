"""Without its extra the miniature says what to install, before any work."""

import pathlib
import subprocess
import sys

import pytest

_HIDDEN = (
  'import sys; sys.modules[{name!r}] = None; sys.argv = ["x", *{argv}]; '
)


def _run(name: str, argv: list[str], module: str) -> tuple[int, str]:
  code = _HIDDEN.format(name=name, argv=argv)
  done = subprocess.run(
    [sys.executable, '-c', code + f'import {module} as m; m.main()'],
    capture_output=True,
    text=True,
    timeout=120,
  )
  return done.returncode, done.stderr


@pytest.mark.parametrize('name', ['jinja2', 'matplotlib', 'pymunk'])
@pytest.mark.parametrize('program', ['demo', 'tables', 'real_pixels'])
def test_a_program_of_the_miniature(
  name: str, program: str, tmp_path: pathlib.Path
):
  output = tmp_path / 'out'
  argv = [program, f'--output={output}']
  status, said = _run(name, argv, 'vidlm.miniature.__main__')
  assert (status, said) == (
    2,
    f"error: {program} needs {name}: pip install 'vidlm[miniature]'\n",
  )
  assert not output.exists()


def test_the_command_that_draws_the_world(tmp_path: pathlib.Path):
  argv = ['prepare', 'miniature', f'--output={tmp_path / "out"}']
  status, said = _run('pymunk', argv, 'vidlm.cli')
  assert status == 2
  assert said == (
    "error: the drawn world needs pymunk: pip install 'vidlm[miniature]'\n"
  )
  assert not (tmp_path / 'out').exists()
