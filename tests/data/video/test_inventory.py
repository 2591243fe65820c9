"""Every file of a folder is counted once, whatever is in it."""

import contextlib
import os
import pathlib
import subprocess
import tempfile

import hypothesis
import pytest
from hypothesis import strategies as st

from vidlm.core import file_names
from vidlm.data.video import inventory, listing, scanner, walk

_STEM = st.sampled_from(
  [
    b'a',
    b'b c',
    b'.h',
    b'y.mp4',
    b'caf\xe9',
    'é日'.encode(),
    b'\\udce9',
    b'a\nb',
  ]
)
_SUFFIX = st.sampled_from(
  [b'.mp4', b'.MP4', b'.mkv', b'.MTS', b'.h264', b'.png', b'.ogg', b'.txt', b'']
)
_NAME = st.tuples(_STEM, _SUFFIX).map(b''.join)
# What is made, in which folder, under which name, and where a link leads.
_THING = st.tuples(
  st.sampled_from(['file', 'empty', 'folder', 'link', 'pipe', 'hard link']),
  st.integers(0, 5),
  _NAME,
  st.integers(0, 20),
)


def make_tree(top: bytes, things) -> bytes:
  """Makes a folder and what is beside it; returns the folder."""
  root, beside = os.path.join(top, b'root'), os.path.join(top, b'beside')
  folders, targets = [root, beside], [root, beside, top, b'', b'.']
  for folder in folders:
    os.mkdir(folder)
  for kind, at, name, target in things:
    path = os.path.join(folders[at % len(folders)], name)
    leads_to = targets[target % len(targets)]
    with contextlib.suppress(FileExistsError):
      if kind == 'folder':
        os.mkdir(path)
        folders.append(path)
      elif kind == 'link':
        # '' leads to itself, others perhaps nowhere.
        os.symlink(leads_to or path, path)
      elif kind == 'pipe':
        os.mkfifo(path)
      elif kind == 'hard link' and os.path.isfile(leads_to):
        os.link(leads_to, path)
      else:
        with open(path, 'xb') as file:
          file.write(b'' if kind == 'empty' else b'\x89PNG acTL')
      targets.append(path)
  return root


def count_by_hand(root: bytes) -> set[str]:
  """All that isn't a folder: an independent walk, in bytes."""
  found = set()
  for folder, subfolders, names in os.walk(root):
    links = [n for n in subfolders if os.path.islink(os.path.join(folder, n))]
    for name in [*names, *links]:
      path = os.path.relpath(os.path.join(folder, name), root)
      found.add(file_names.as_text(os.fsdecode(path)))
  return found


@hypothesis.settings(deadline=None, max_examples=300)
@hypothesis.given(st.lists(_THING, max_size=14), st.booleans())
def test_each_file_is_counted_once(things, follow: bool) -> None:
  with tempfile.TemporaryDirectory() as top:
    root = os.fsdecode(make_tree(os.fsencode(top), things))
    there = count_by_hand(os.fsencode(root))
    found = inventory.take(scanner.Folder(root, follow))
    names = [item.name for item in found.items]
    assert len(set(names)) == len(names)
    if follow:  # links to folders are replaced by what is in them
      assert {n for n in there if not _is_folder(root, n)} <= set(names)
    else:
      assert set(names) == there
    outcomes = {
      video.name: ['', 'corrupt', 'no_video_stream'][i % 3]
      for i, video in enumerate(found.videos)
    }
    for by_rows in (False, True):
      _check_counts(found, outcomes, by_rows)
    with contextlib.suppress(ValueError):
      _check_clips(found)


def _is_folder(root: str, name: str) -> bool:
  return os.path.isdir(os.path.join(root, file_names.as_name(name)))


def _check_counts(found, outcomes, by_rows: bool) -> None:
  counts = found.count(outcomes, by_rows)
  skipped = sum(counts.skipped.values())
  assert counts.found == len(found.items)
  assert counts.found == counts.clips + counts.stills + skipped
  known = {*walk.REASONS, 'corrupt'}
  assert set(counts.skipped) <= known
  report = found.report(outcomes, by_rows)
  assert {r: len(n) for r, n in report['names'].items()} == counts.skipped
  assert counts.clips == sum(outcome == '' for outcome in outcomes.values())


def _check_clips(found: inventory.Inventory) -> None:
  entries = listing.folder_clips(found)
  assert [e.video for e in entries] == [video.name for video in found.videos]
  assert len({entry.clip_id for entry in entries}) == len(entries)
  root = os.path.realpath(found.folder.path)
  for entry in entries:
    entry.clip_id.encode(), entry.video.encode()
    assert entry.path == os.path.join(root, file_names.as_name(entry.video))
    if not found.folder.follow_links:
      assert os.path.realpath(entry.path).startswith(root + '/')


def put(root: pathlib.Path, *names: str) -> pathlib.Path:
  for name in names:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(b'x')
  return root


@pytest.fixture
def mixed(tmp_path) -> pathlib.Path:
  """A folder with a file of each kind, and what lies beside it."""
  root = put(tmp_path / 'root', 'a.mp4', 'b.MTS', 'c.jpg', 'd.txt', '.e.mp4')
  put(root, '.git/config', 'sub.mp4/f.mkv', 'song.ogg', 'notes')
  other = put(tmp_path / 'other', 'g.mp4', 'deep/h.mp4', 'deep/i.txt')
  (root / 'g.mp4').symlink_to(other / 'g.mp4')
  (root / 'more').symlink_to(other / 'deep')
  (root / 'again').symlink_to(root / 'sub.mp4')
  (root / 'loop.mp4').symlink_to(root / 'loop.mp4')
  (root / 'gone.mp4').symlink_to(root / 'never.mp4')
  (root / 'inner.mp4').symlink_to(root / 'a.mp4')
  os.mkfifo(root / 'pipe.mp4')
  return root


def test_reasons(mixed) -> None:
  found = inventory.take(mixed)
  films = ['a.mp4', 'b.MTS', 'gone.mp4', 'inner.mp4', 'sub.mp4/f.mkv']
  assert [video.name for video in found.videos] == films
  counts = found.count({name: '' for name in films})
  assert (counts.found, counts.clips, counts.stills) == (16, 5, 1)
  assert counts.skipped == {
    'hidden': 2,
    'link_leads_out': 2,
    'link_loop': 1,
    'link_repeats': 1,
    'no_video_stream': 1,
    'not_a_file': 1,
    'suffix_unknown': 2,
  }
  assert str(found).endswith('; unknown suffixes: .txt 1, (none) 1')


def test_links_that_lead_out_are_named_and_followed_if_told(
  mixed, caplog
) -> None:
  inventory.take(mixed).log()
  assert "2 links lead out of the folder: 'g.mp4', 'more'; --f" in caplog.text
  found = inventory.take(scanner.Folder(str(mixed), follow_links=True))
  assert 'link_leads_out' not in found.count({}).skipped
  followed = {v.name for v in found.videos if v.followed}
  assert followed == {'g.mp4', 'more/h.mp4'}
  paths = [entry.path for entry in listing.folder_clips(found)]
  assert f'{mixed}/more/h.mp4' in paths and all(paths)


def test_a_hub_s_cache(tmp_path) -> None:
  """Its names are links to files without names, outside of what is given."""
  blobs, snapshot = tmp_path / 'blobs', tmp_path / 'snapshots' / '1f'
  put(blobs, '4be1', '77aa')
  snapshot.mkdir(parents=True)
  (snapshot / 'x.mp4').symlink_to('../../blobs/4be1')
  (snapshot / 'x.png').symlink_to('../../blobs/77aa')
  with pytest.raises(ValueError, match=r'2 skipped \(link_leads_out 2\)'):
    listing.folder_clips(str(snapshot))
  folder = scanner.Folder(str(snapshot), follow_links=True)
  (entry,) = listing.folder_clips(folder)
  # By its own name: a blob has no suffix.
  assert (entry.clip_id, entry.path) == ('x', f'{snapshot}/x.mp4')
  # Whole, nothing leads out of it.
  assert listing.list_videos(str(tmp_path)) == ['snapshots/1f/x.mp4']


def test_following_links_neither_circles_nor_repeats(tmp_path) -> None:
  root, other = put(tmp_path / 'root', 'a.mp4'), put(tmp_path / 'o', 'b.mp4')
  (root / 'up').symlink_to(tmp_path)
  (root / 'once').symlink_to(other)
  (other / 'back').symlink_to(root)
  (other / 'self').symlink_to(other)
  for number in range(30):  # each leads to all: 2 ** 30 ways
    (tmp_path / f'd{number}').mkdir()
    for way in 'lr':
      target = tmp_path / f'd{number + 1}'
      (tmp_path / f'd{number}' / way).symlink_to(target)
  found = inventory.take(scanner.Folder(str(root), follow_links=True))
  assert [video.name for video in found.videos] == ['a.mp4', 'once/b.mp4']


def test_ids_stay_when_links_are_followed(tmp_path) -> None:
  root, other = put(tmp_path / 'root', 'a.mp4'), put(tmp_path / 'o', 'a.mkv')
  (root / 'a.mkv').symlink_to(other / 'a.mkv')
  (plain,) = listing.folder_clips(str(root))
  more = listing.folder_clips(scanner.Folder(str(root), follow_links=True))
  assert [e.clip_id for e in more] == ['a.mkv', plain.clip_id == 'a' and 'a']


def test_nothing_taken_says_what_was_there(tmp_path) -> None:
  root = put(tmp_path, 'a.txt', 'b.txt', 'c.docx', 'd.jpg', '.x/y', 'e')
  with pytest.raises(ValueError) as error:
    listing.folder_clips(str(root))
  message = str(error.value)
  assert '6 files found: 0 films, 1 still, 5 skipped' in message
  assert '(hidden 1, suffix_unknown 4)' in message
  assert 'unknown suffixes: .txt 2, .docx 1, (none) 1' in message
  assert '\n' not in message and len(message) < 1000


def test_what_can_not_be_listed_is_counted(tmp_path, monkeypatch) -> None:
  root = put(tmp_path, 'a.mp4', 'locked/b.mp4')
  real = os.scandir

  def scandir(path):
    if os.path.basename(path) == 'locked':
      raise PermissionError(13, 'Permission denied')
    return real(path)

  monkeypatch.setattr(os, 'scandir', scandir)
  counts = inventory.take(root).count({'a.mp4': ''})
  assert (counts.found, counts.clips) == (2, 1)
  assert counts.skipped == {'folder_unreadable': 1}


def test_folders_may_be_nested_deeper_than_python_calls(tmp_path) -> None:
  top = tmp_path / 'deep'
  depth = (4000 - len(str(top))) // 2
  os.mkdir(top)
  here = os.open(top, os.O_RDONLY)
  for _ in range(depth):
    os.mkdir('d', dir_fd=here)
    below = os.open('d', os.O_RDONLY, dir_fd=here)
    os.close(here)
    here = below
  os.close(os.open('a.mp4', os.O_CREAT, dir_fd=here))
  os.close(here)
  assert listing.list_videos(str(top)) == ['d/' * depth + 'a.mp4']
  subprocess.run(['rm', '-r', top], check=True)  # rmtree would call too deep


_ODD = (
  'concat_equal.ts concat_equal.mpg size_changes.ts second_is_default.mp4 '
  'second_is_default.mkv camera.MTS dvd.VOB tape.m2v raw.h264 film.gif vfr.mkv '
  'edit_list.mp4 slides.mp4 one_frame.mp4 cut_source.mp4 cut_35.mp4'
)
_ANIMATED = {
  'film.webp': b'RIFF\xff\0\0\0WEBPVP8X\n\0\0\0\x02' + b'\0' * 9,
  'film.apng': b'\x89PNG\r\n\x1a\n'
  + b'\0\0\0\rIHDR'
  + b'\0' * 17
  + b'\0\0\0\x08acTL\0\0\0\x1e\0\0\0\0....',
}


def test_odd_films_are_films(tmp_path) -> None:
  """Each good file that a maker of odd films makes is one."""
  root = put(tmp_path, *_ODD.split(), 'expected.json')
  for name, head in _ANIMATED.items():
    (root / name).write_bytes(head)
  found = inventory.take(root)
  counts = found.count({video.name: '' for video in found.videos})
  assert (counts.found, counts.clips, counts.stills) == (19, 18, 0)
  assert counts.skipped == {'suffix_unknown': 1}


def test_real_clips() -> None:
  root = pathlib.Path(__file__).resolve().parents[4] / 'shared' / 'clips'
  if not root.exists():
    pytest.skip('no real clips here')
  found = inventory.take(root)
  videos = {video.name: '' for video in found.videos}
  there = [path for path in root.rglob('*') if not path.is_dir()]
  assert len(found.items) == len(there)
  assert found.count(videos).clips == len([*root.rglob('*.mp4')])
