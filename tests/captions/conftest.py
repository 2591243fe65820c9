"""Fakes for captioning, in a file that also runs as a process of its own."""

import hashlib
import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest

SCRIPT = pathlib.Path(__file__).with_name('fake_run.py')
ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope='session')
def fakes():
  spec = importlib.util.spec_from_file_location('caption_fakes', SCRIPT)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


@pytest.fixture(scope='session')
def make_lines():
  """Writes five shards of clips: uneven, one empty, some clips bad."""

  def make(folder):
    folder.mkdir()
    for shard, number in enumerate([9, 4, 0, 1, 6]):
      clips = [f'clip-{shard}-{i}' for i in range(number)]
      if number > 4:
        clips[1] += '-bad'
        clips[2] += '-black'
      (folder / f'{shard}.txt').write_text('\n'.join(clips))
    return folder

  return make


@pytest.fixture
def lines(tmp_path, make_lines):
  """Five shards of clips for the fake source."""
  return make_lines(tmp_path / 'clips')


@pytest.fixture(scope='session')
def start():
  """Starts fake_run.py."""

  def run(*args):
    return subprocess.Popen(
      [sys.executable, str(SCRIPT), *map(str, args)],
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
      cwd=ROOT,
      env={**os.environ, 'PYTHONPATH': str(ROOT)},
    )

  return run


@pytest.fixture(scope='session')
def hashes():
  """SHA-256 of every file of a folder, hidden ones too."""

  def of(folder):
    return {
      path.name: hashlib.sha256(path.read_bytes()).hexdigest()
      for path in sorted(pathlib.Path(folder).iterdir())
    }

  return of
