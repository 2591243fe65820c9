"""Killed at any moment and run again, the set is the same to the byte."""

import json
import random
import signal
import time

import pytest

from vidlm.captions import caption

MOMENTS = 10


@pytest.fixture(scope='module')
def lines(tmp_path_factory, make_lines):
  """Shared by these tests, which leave it alone."""
  return make_lines(tmp_path_factory.mktemp('kill') / 'clips')


@pytest.fixture(scope='module')
def undisturbed(lines, start, hashes):
  """Hashes of a set made in one go, and the moments it went through."""
  output = lines.parent / 'undisturbed'
  process = start(lines, output)
  out, err = process.communicate(timeout=60)
  assert process.returncode == 0, err
  return hashes(output), json.loads(out)


@pytest.fixture
def finish(fakes, lines):
  """Runs again, in this process."""

  def run(output):
    caption.caption_source(
      fakes.FakeCaptioner(),
      fakes.FolderOfLines(lines),
      str(output),
      run=caption.Run(process_index=0, process_count=1),
    )

  return run


def test_kill_at_ten_moments(
  undisturbed, lines, tmp_path, start, finish, hashes
):
  wanted, moments = undisturbed
  assert len(wanted) == 6  # five files and the manifest, nothing else
  kinds = ('half written', 'before fsync', 'before replace', 'after replace')
  manifest = [i for i, label in enumerate(moments) if 'manifest' in label]
  assert all(any(kind in m for m in moments) for kind in kinds)
  chosen = set(random.Random(7).sample(range(len(moments)), MOMENTS - 3))
  chosen |= {manifest[0], manifest[1], manifest[-1]}
  for moment in sorted(chosen):
    output = tmp_path / f'killed-{moment}'
    killed = start(lines, output, '--kill_at', moment)
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL, moments[moment]
    finish(output)
    assert hashes(output) == wanted, moments[moment]


def test_kill_again_and_again(
  undisturbed, lines, tmp_path, start, finish, hashes
):
  wanted, _ = undisturbed
  output = tmp_path / 'killed'
  for moment in (3, 9, 5):
    start(lines, output, '--kill_at', moment).communicate(timeout=60)
  finish(output)
  assert hashes(output) == wanted


def test_one_of_two_processes_is_killed(
  undisturbed, lines, tmp_path, start, hashes
):
  wanted, _ = undisturbed
  output = tmp_path / 'shared'
  share = [
    start(lines, output, '--index', i, '--count', 2, '--wait', 3, *extra)
    for i, extra in enumerate([[], ['--kill_at', 4]])
  ]
  (_, err), _ = [process.communicate(timeout=60) for process in share]
  assert share[1].returncode == -signal.SIGKILL
  # Process 0 says which file it waits for, and whose it is.
  assert share[0].returncode != 0
  assert 'captions-00001-of-00005.parquet (process 1)' in err
  assert 'manifest.json' not in hashes(output)
  share = [start(lines, output, '--index', i, '--count', 2) for i in (0, 1)]
  for process in share:
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
  assert hashes(output) == wanted


def test_two_workers_at_the_same_shards(
  undisturbed, lines, tmp_path, start, finish, hashes
):
  wanted, _ = undisturbed
  output = tmp_path / 'twice'
  slow = start(lines, output, '--seconds', 0.5)
  deadline = time.monotonic() + 60
  while not list(output.glob('captions-*')) and time.monotonic() < deadline:
    time.sleep(0.01)
  slow.send_signal(signal.SIGSTOP)  # past any lease
  finish(output)
  assert hashes(output) == wanted
  slow.send_signal(signal.SIGCONT)
  _, err = slow.communicate(timeout=60)
  assert slow.returncode == 0, err
  assert hashes(output) == wanted
