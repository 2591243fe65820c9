"""What is in a folder: the same to all who look."""

import pathlib

import pytest

from vidlm.data.prepare import annotations
from vidlm.data.sets import files, locate, packs, rows
from vidlm.data.video import listing, packed, scanner, stills


def touch(root: pathlib.Path, *names: str) -> str:
  for name in names:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
  return str(root)


def test_own_files_come_before_those_of_subfolders(tmp_path) -> None:
  names = ('b/z.mp4', 'b/a.MKV', 'c.webm', 'a.mp4', 'b-2/x.mp4', 'a/n.txt')
  root = touch(tmp_path, *names)
  assert list(scanner.scan(root, 'video')) == [
    'a.mp4',
    'c.webm',
    'b/a.MKV',
    'b/z.mp4',
    'b-2/x.mp4',
  ]
  # Clip ids go by whole names.
  assert listing.list_videos(root) == [
    'a.mp4',
    'b-2/x.mp4',
    'b/a.MKV',
    'b/z.mp4',
    'c.webm',
  ]


def test_hidden_files_are_nobodys(tmp_path) -> None:
  hidden = ('._a.mp4', '.x/a.mp4', '._1.png', '._t.tar', '._a.json')
  root = touch(tmp_path, *hidden, 'a.mp4', '1.png', 't.tar', 'a.json')
  kinds = tuple(scanner.SUFFIXES)
  shown = ['1.png', 'a.json', 'a.mp4', 't.tar']
  assert list(scanner.scan(root, *kinds)) == shown
  assert scanner.names_in(root, *kinds) == shown
  assert [pathlib.Path(f).name for f in stills.frame_files(root)] == ['1.png']
  assert files.archives(root) == [f'{root}/t.tar']
  assert files.expand([root]) == [f'{root}/a.json']


def test_links_to_folders_are_not_followed(tmp_path) -> None:
  touch(tmp_path / 'other', 'a.mp4')
  root = touch(tmp_path / 'root', 'b.mp4')
  (tmp_path / 'root' / 'link').symlink_to(tmp_path / 'other')
  assert list(scanner.scan(root, 'video')) == ['b.mp4']


@pytest.mark.parametrize(
  'name, inside',
  [('a.mp4', True), ('no/such.mp4', True), ('../a.mp4', False), ('\0', False)],
)
def test_what_leads_out_has_no_path(tmp_path, name, inside) -> None:
  found = scanner.resolve(tmp_path, name)
  assert found == (str(tmp_path.resolve() / name) if inside else None)


def test_ids_hold_dots() -> None:
  for name, bare in [
    ('0WjR6.3.MP4', '0WjR6.3'),
    ('0WjR6.3', '0WjR6.3'),
    ('a.tar', 'a.tar'),
  ]:
    assert scanner.without_suffix(name, 'video', 'image') == bare


@pytest.mark.parametrize('suffix', scanner.SUFFIXES['video'])
def test_a_video_is_one_to_all(tmp_path, suffix: str) -> None:
  """Each suffix of the table, in the folder, in annotations, in a tar."""
  name = f'clip.1{suffix}'
  root = touch(tmp_path / 'videos', name)
  assert listing.list_videos(root) == [name]
  (tmp_path / 'a.jsonl').write_text(
    '{"clip_id": "x", "path": "clip.1", "caption": "c"}'
  )
  (entry,) = annotations.read_annotations(str(tmp_path / 'a.jsonl'), root)
  assert entry.video == name
  row = rows.Row('x', (rows.VideoName('clip.1'),))
  assert locate.VideoFolder(root).find(row)[0].video == name
  found: dict = {}
  packs._take('', packed.Member(name, 'tar:0:1', 1), found)
  assert found == {'clip.1': {'video': name}}
