"""What `--version` and the reports of figures say of where they come from."""

import os
import pathlib
import platform
import subprocess
import sys

import jax
import pytest

from vidlm.core import circumstances

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.parametrize('program', ['vidlm', 'dualenc'])
def test_version_names_versions_backend_and_commit(program):
  loaded = (
    f'import sys; from {program} import cli\n'
    'try:\n'
    "  cli.main(['--version'])\n"
    'finally:\n'
    "  print([n for n in ('tensorflow', 'seqio') if n in sys.modules])"
  )
  done = subprocess.run(
    [sys.executable, '-c', loaded],
    capture_output=True,
    text=True,
    cwd=ROOT,
    timeout=60,
  )
  assert done.returncode == 0, done.stderr
  *lines, heavy = done.stdout.splitlines()
  assert heavy == '[]'
  facts = {name: value.strip() for name, _, value in map(_split, lines)}
  assert facts['jax'] == jax.__version__
  assert facts['python'].startswith(platform.python_version())
  assert facts['backend'] == 'cpu'
  assert facts['devices'] == '8 (cpu)'
  assert facts['commit'] == circumstances.commit()
  assert {'jaxlib', 'flax', 'numpy', 'av', 'pillow'} < set(facts)


def _split(line: str) -> tuple[str, str, str]:
  return line.partition(' ')


def test_a_backend_that_fails_is_told_in_one_line(monkeypatch):
  def fail():
    raise RuntimeError('no driver\nfound')

  monkeypatch.setattr(jax, 'devices', fail)
  lines = circumstances.describe().splitlines()
  assert [' '.join(x.split()) for x in lines if x.startswith('backend')] == [
    'backend none: RuntimeError: no driver found'
  ]


def test_the_commit_is_that_of_this_checkout_or_unknown(monkeypatch, tmp_path):
  """A wheel below somebody's repository must not name their commit."""
  git = ['git', '-c', 'user.name=a', '-c', 'user.email=a@b.c']
  subprocess.run([*git, 'init', '-q', tmp_path], check=True)
  subprocess.run(
    [*git, 'commit', '-q', '--allow-empty', '-m', 'theirs'],
    cwd=tmp_path,
    check=True,
  )
  monkeypatch.setattr(circumstances, '_ROOT', tmp_path)
  assert len(circumstances.commit()) == 40
  site_packages = tmp_path / 'lib'
  site_packages.mkdir()
  monkeypatch.setattr(circumstances, '_ROOT', site_packages)
  assert circumstances.commit() == 'unknown'


def test_no_git_is_no_error(monkeypatch):
  monkeypatch.setenv('PATH', os.devnull)
  assert circumstances.commit() == 'unknown'


def test_the_machine_of_a_report():
  machine = circumstances.machine()
  assert machine['backend'] == 'cpu'
  assert 1 <= machine['cpus_used'] <= machine['cpu_count']
  assert machine['jax'] == jax.__version__
