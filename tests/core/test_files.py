"""Files whole or not at all: kills, errors, full disks, the order of fsync."""

import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import threading
import time

import pytest
from etils import epath
from etils.epath import gpath

from vidlm.core import files

ROOT = pathlib.Path(__file__).parents[2]


def start(code: str) -> subprocess.Popen:
  return subprocess.Popen(
    [sys.executable, '-c', code],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    text=True,
  )


def test_a_killed_writer_leaves_the_old_content(tmp_path):
  path = tmp_path / 'a.json'
  files.write_text(path, 'old')
  writer = start(f"""
import time
from vidlm.core import files
with files.writer({str(path)!r}) as file:
  file.write(b'new' * 1000)
  file.flush()
  print('midway', flush=True)
  time.sleep(60)
""")
  assert writer.stdout.readline() == 'midway\n'
  (left,) = files.partials(tmp_path)
  assert left.stat().st_size == 3000
  writer.kill()
  writer.wait()
  assert path.read_text() == 'old'
  assert files.partials(tmp_path) == [left]  # hidden, and found by its name


def test_killed_at_any_moment_a_file_is_one_or_the_other(tmp_path):
  path = tmp_path / 'a'
  size = 300_000
  code = f"""
import itertools
from vidlm.core import files
print('started', flush=True)
for letter in itertools.cycle((b'a', b'b')):
  files.write_bytes({str(path)!r}, letter * {size})
"""
  for delay in (0.03, 0.05, 0.08):
    writer = start(code)
    writer.stdout.readline()
    deadline = time.monotonic() + 30
    while not path.exists() and time.monotonic() < deadline:
      time.sleep(0.005)
    time.sleep(delay)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert path.read_bytes() in (b'a' * size, b'b' * size)


def test_content_reaches_the_disk_before_the_name(tmp_path, monkeypatch):
  """File, then name, then folder: each needs the one before on the disk."""
  events = []
  real_sync, real_replace, real_link = os.fsync, os.replace, os.link

  def sync(descriptor):
    where = os.readlink(f'/proc/self/fd/{descriptor}')
    size = None if os.path.isdir(where) else os.fstat(descriptor).st_size
    events.append(('fsync', os.path.basename(where)[:8], size))
    real_sync(descriptor)

  def replace(source, target):
    events.append(('replace', os.path.basename(target)))
    real_replace(source, target)

  def link(source, target):
    events.append(('link', os.path.basename(target)))
    real_link(source, target)

  monkeypatch.setattr(os, 'fsync', sync)
  monkeypatch.setattr(os, 'replace', replace)
  monkeypatch.setattr(os, 'link', link)
  folder = ('fsync', tmp_path.name[:8], None)
  files.write_bytes(tmp_path / 'abcde', b'12345')
  assert [e[0] for e in events] == ['fsync', 'replace', 'fsync']
  assert events[0][1].startswith('.abcde.')
  assert (events[0][2], events[2]) == (5, folder)
  events.clear()
  files.create(tmp_path / 'once', b'123')
  assert [e[0] for e in events] == ['fsync', 'link', 'fsync']
  assert (events[0][2], events[2]) == (3, folder)
  events.clear()
  files.write_bytes(tmp_path / 'again', b'12345', durable=False)
  assert events == [('replace', 'again')]
  with files.partial_folder(tmp_path / 'set') as partial:
    (partial / 'deep').mkdir()
    (partial / 'deep/file').write_bytes(b'1')
    events.clear()
  assert [e[:2] for e in events] == [
    ('fsync', '.set.par'),
    ('fsync', 'file'),
    ('fsync', 'deep'),
    ('replace', 'set'),
    folder[:2],
  ]


def test_new_folders_reach_the_disk(tmp_path, monkeypatch):
  synced = []
  monkeypatch.setattr(files, 'sync_folder', lambda f: synced.append(str(f)))
  files.make_folder(tmp_path / 'a/b')
  assert (tmp_path / 'a/b').is_dir()
  assert synced == [str(tmp_path / 'a'), str(tmp_path)]
  synced.clear()
  files.make_folder(tmp_path / 'a/b')
  assert synced == []


@pytest.mark.parametrize('error', [RuntimeError, KeyboardInterrupt])
def test_an_error_leaves_nothing(tmp_path, error):
  files.write_text(tmp_path / 'a', 'old')
  with pytest.raises(error), files.writer(tmp_path / 'a') as file:
    file.write(b'new')
    raise error
  with pytest.raises(error), files.partial(tmp_path / 'b') as partial:
    partial.write_text('new')
    raise error
  with pytest.raises(error), files.partial(tmp_path / 'c'):
    raise error  # before there was anything
  with pytest.raises(error), files.partial_folder(tmp_path / 'd') as partial:
    (partial / 'file').write_text('new')
    raise error
  with pytest.raises(TypeError):
    files.write_json_lines(tmp_path / 'e', [1, object()])
  assert os.listdir(tmp_path) == ['a']
  assert (tmp_path / 'a').read_text() == 'old'


def test_errors_of_the_body_are_not_called_ours(tmp_path):
  with (
    pytest.raises(FileNotFoundError, match='elsewhere'),
    files.writer(tmp_path / 'a'),
  ):
    (tmp_path / 'elsewhere').read_bytes()


def test_a_full_disk_is_one_line(tmp_path):
  files.write_text(tmp_path / 'a', 'old')
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
  resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
  try:
    for write in (files.write_bytes, files.create):
      with pytest.raises(ValueError, match='no room for it') as told:
        write(tmp_path / 'a', b'x' * 5000)
      assert str(told.value).startswith(f'{tmp_path / "a"}: cannot be written')
      assert '\n' not in str(told.value)
    with (
      pytest.raises(ValueError, match='no room for it'),
      files.partial(tmp_path / 'a') as partial,
    ):
      partial.write_bytes(b'x' * 5000)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, old)
  assert os.listdir(tmp_path) == ['a']
  assert (tmp_path / 'a').read_text() == 'old'


def test_where_nothing_can_be_written(tmp_path):
  with pytest.raises(ValueError, match=r'gone/a: cannot be .* make its folder'):
    files.write_bytes(tmp_path / 'gone/a', b'')
  (tmp_path / 'file').touch()
  with pytest.raises(ValueError, match=r'^--output=.*file/x: Not a directory;'):
    files.make_folder(tmp_path / 'file/x', '--output')
  with pytest.raises(ValueError, match=r'^/.*file: File exists; choose'):
    files.make_folder(tmp_path / 'file')
  name = os.fsdecode(b'caf\xe9')
  with pytest.raises(ValueError, match=r'^--output=caf\\udce9: .* no UTF-8'):
    files.make_folder(name, '--output')


def test_json_has_one_style(tmp_path):
  path = tmp_path / 'a.json'
  files.write_json(path, {'b': [1], 'a': 'ü'})
  text = '{\n  "b": [\n    1\n  ],\n  "a": "\\u00fc"\n}\n'
  assert path.read_text() == text
  files.write_json(path, {'b': 1, 'a': 'ü'}, sort_keys=True, ensure_ascii=False)
  assert path.read_bytes() == '{\n  "a": "ü",\n  "b": 1\n}\n'.encode()
  files.write_json_lines(path, iter([{'a': 'ü'}, 2]), ensure_ascii=False)
  assert path.read_text(encoding='utf-8') == '{"a": "ü"}\n2\n'
  with pytest.raises(ValueError, match='JSON compliant'):
    files.write_json(path, float('nan'), allow_nan=False)
  assert path.read_text(encoding='utf-8') == '{"a": "ü"}\n2\n'


def test_a_file_has_the_rights_of_any_other(tmp_path):
  before = os.umask(0o027)
  try:
    files.write_bytes(tmp_path / 'a', b'')
    files.create(tmp_path / 'b', b'')
  finally:
    os.umask(before)
  assert (tmp_path / 'a').stat().st_mode & 0o777 == 0o640
  assert (tmp_path / 'b').stat().st_mode & 0o777 == 0o640


def test_of_many_creators_one_wins(tmp_path):
  path = tmp_path / 'shard'
  barrier = threading.Barrier(8)
  won = []

  def create(number):
    barrier.wait()
    if files.create(path, b'%d' % number * 1000):
      won.append(number)

  threads = [threading.Thread(target=create, args=(i,)) for i in range(8)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  (winner,) = won
  assert path.read_bytes() == b'%d' % winner * 1000
  assert not files.create(path, b'late')
  assert os.listdir(tmp_path) == ['shard']


def test_a_link_whose_answer_was_lost_counts(tmp_path, monkeypatch):
  """NFS: the link is made, its answer lost, the repetition finds it there."""
  real = os.link

  def link(source, target):
    real(source, target)
    raise FileExistsError(17, 'File exists')

  monkeypatch.setattr(os, 'link', link)
  assert files.create(tmp_path / 'a', b'1')
  monkeypatch.setattr(
    os,
    'link',
    lambda s, t: (_ for _ in ()).throw(
      PermissionError(1, 'Operation not permitted')
    ),
  )
  with pytest.raises(ValueError, match=r'b: cannot be written .Operation not'):
    files.create(tmp_path / 'b', b'1')
  assert os.listdir(tmp_path) == ['a']


def test_what_a_killed_sole_writer_left_is_overwritten(tmp_path):
  (tmp_path / '.a.npz.partial').write_bytes(b'half')
  with files.writer(tmp_path / 'a.npz', sole=True) as file:
    file.write(b'w')
  (tmp_path / '.set.partial').mkdir()
  (tmp_path / '.set.partial/stale').touch()
  with files.partial_folder(tmp_path / 'set') as partial:
    (partial / 'new').touch()
  assert sorted(os.listdir(tmp_path)) == ['a.npz', 'set']
  assert os.listdir(tmp_path / 'set') == ['new']
  with (
    pytest.raises(ValueError, match='set: cannot be written'),
    files.partial_folder(tmp_path / 'set') as partial,
  ):
    (partial / 'other').touch()
  assert os.listdir(tmp_path / 'set') == ['new']
  assert sorted(os.listdir(tmp_path)) == ['a.npz', 'set']


def test_a_folder_that_knows_no_fsync(tmp_path, monkeypatch):
  real = os.fsync

  def sync(descriptor):
    if os.path.isdir(f'/proc/self/fd/{descriptor}'):
      raise OSError(22, 'Invalid argument')
    real(descriptor)

  monkeypatch.setattr(os, 'fsync', sync)
  files.write_text(tmp_path / 'a', 'x')
  assert (tmp_path / 'a').read_text() == 'x'


class Store:
  """gs://bucket as a folder; lists the calls of epath's that reach it."""

  def __init__(self, folder):
    self._folder = folder
    self.calls = []

  def _local(self, value):
    if isinstance(value, str):
      return value.replace('gs://', f'{self._folder}/')
    return value

  def __getattr__(self, name):
    real = getattr(gpath.backend_lib.os_backend, name)

    def call(path, *rest, **named):
      assert path.startswith('gs://')
      self.calls.append(name)
      return real(self._local(path), *map(self._local, rest), **named)

    return call


@pytest.fixture
def store(tmp_path, monkeypatch):
  made = Store(tmp_path)
  monkeypatch.setattr(type(epath.Path('gs://b')), '_backend', made)
  monkeypatch.setattr(gpath, '_get_backend', lambda source, target: made)
  return made


def test_a_store_is_written_through_epath(tmp_path, store):
  files.make_folder('gs://bucket/run')
  files.write_json('gs://bucket/run/a.json', {'a': 1})
  folder = tmp_path / 'bucket/run'
  assert store.calls == ['makedirs', 'open', 'replace']
  assert json.loads((folder / 'a.json').read_text()) == {'a': 1}
  digest = files.sha256(folder / 'a.json')
  assert files.sha256('gs://bucket/run/a.json') == digest
  with pytest.raises(KeyError), files.writer('gs://bucket/run/b') as file:
    file.write(b'half')
    raise KeyError
  with files.partial_folder('gs://bucket/run/set') as partial:
    files.write_text(partial / 'c', 'x')
  assert store.calls[-1] == 'rename'
  with pytest.raises(KeyError), files.partial_folder('gs://bucket/run/bad'):
    raise KeyError
  assert sorted(os.listdir(folder)) == ['a.json', 'set']
  assert os.listdir(folder / 'set') == ['c']
  with pytest.raises(ValueError, match='gs://b/a: create-if-absent is for'):
    files.create('gs://b/a', b'')


def test_sha256(tmp_path):
  files.write_bytes(tmp_path / 'a', b'abc')
  digest = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'
  assert files.sha256(tmp_path / 'a') == digest
