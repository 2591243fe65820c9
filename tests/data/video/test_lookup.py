"""Rows find their videos, also under names that differ a little."""

import os
import unicodedata

import pytest

from vidlm.data.video import listing, lookup, scanner


def put(root, *names):
  for name in names:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(b'x')
  return str(root)


def locate(root, *names: str) -> list[listing.Entry]:
  rows = [listing.Entry(f'{i}', name, None) for i, name in enumerate(names)]
  return lookup.Lookup(root).locate_all(rows)


def test_as_it_is_written(tmp_path, caplog) -> None:
  root = put(tmp_path, 'a.mp4', 'A.mp4', 'sub/b.mkv', 'c.264.mp4', 'd.webp')
  names = 'a.mp4', 'A', 'sub/b', './sub//b.mkv', 'c.264', 'd', 'gone'
  found = locate(root, *names)
  assert [entry.video for entry in found] == [
    'a.mp4',
    'A.mp4',
    'sub/b.mkv',
    'sub/b.mkv',
    'c.264.mp4',
    'd.webp',
    'gone',
  ]
  assert found[-1].reason == 'not_found' and not found[0].reason
  assert found[2].path == f'{root}/sub/b.mkv'
  assert not caplog.text


@pytest.mark.parametrize(
  'file, row',
  [
    ('clip.MP4', 'clip.mp4'),
    ('clip.mp4', 'clip.MP4'),
    ('clip.MP4', 'clip'),
    ('Sub/Clip.MOV', 'sub/clip.mov'),
    ('CAFÉ.mp4', 'café.mp4'),
    (unicodedata.normalize('NFD', 'café.mp4'), 'café.mp4'),
    ('clip.MTS', 'CLIP.mts'),
  ],
)
def test_a_name_that_differs_in_case_is_found_and_said(
  tmp_path, caplog, file, row
) -> None:
  (entry,) = locate(put(tmp_path, file), row)
  assert (entry.video, entry.path) == (file, str(tmp_path / file))
  assert f'{row!r} is {file!r}' in caplog.text


@pytest.mark.parametrize(
  'files, rows',
  [
    (('clip.MP4', 'Clip.mp4'), ('clip.mp4',)),
    (('clip.MP4',), ('clip.mp4', 'CLIP.mp4')),
    (('clip.MP4',), ('clip.MP4', 'clip.mp4')),
  ],
)
def test_doubt_is_no_guess(tmp_path, caplog, files, rows) -> None:
  found = locate(put(tmp_path, *files), *rows)
  # A row that spells the name as it is isn't in doubt.
  doubtful = [e for e, row in zip(found, rows, strict=True) if row not in files]
  for entry in doubtful:
    assert (entry.path, entry.reason) == (None, 'not_found')
    assert 'differs in case or accents alone from' in entry.message
    assert repr(files[0]) in entry.message
  assert all(e.path for e in found if e not in doubtful)
  assert not caplog.text


def test_several_clips_of_one_file_leave_no_doubt(tmp_path) -> None:
  found = locate(put(tmp_path, 'a.MP4'), 'a.mp4', 'a.mp4', 'a')
  assert [entry.video for entry in found] == ['a.MP4'] * 3


def test_a_name_that_is_no_utf8(tmp_path) -> None:
  name = os.fsdecode(b'caf\xe9.mp4')
  root = put(tmp_path, name)
  # As JSON may have it, as we write it, and without the suffix.
  for row in (name, 'caf\\udce9.mp4', 'caf\\udce9'):
    (entry,) = locate(root, row)
    assert (entry.video, entry.path) == ('caf\\udce9.mp4', f'{root}/{name}')
  (entry,) = locate(root, 'half \ud83d')
  assert entry.reason == 'not_found'
  entry.message.encode(), entry.video.encode()


def test_links_that_lead_out(tmp_path) -> None:
  root, other = tmp_path / 'root', tmp_path / 'other'
  put(root, 'a.mp4'), put(other, 'b.mp4')
  (root / 'b.mp4').symlink_to(other / 'b.mp4')
  (root / 'more').symlink_to(other)
  names = 'b.mp4', 'b', 'more/b', '../other/b.mp4', str(other / 'b.mp4')
  found = locate(str(root), *names)
  assert {entry.reason for entry in found} == {'outside_folder'}
  found = locate(scanner.Folder(str(root), follow_links=True), *names)
  assert [entry.reason for entry in found] == ['', '', ''] + [
    'outside_folder'
  ] * 2
  assert found[2].path == str(root / 'more/b.mp4')


def test_no_such_folder(tmp_path) -> None:
  with pytest.raises(FileNotFoundError, match='no such folder of videos'):
    lookup.Lookup(str(tmp_path / 'none'))
