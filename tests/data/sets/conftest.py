"""Folders of small real videos, and annotations written by a test."""

import json
import pathlib
import shutil
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
SHARED = ROOT.parent / 'shared' / 'annotations'


@pytest.fixture(scope='session')
def one_video(videos, tmp_path_factory) -> str:
  """Four seconds."""
  folder = tmp_path_factory.mktemp('one')
  return videos.write(folder / 'one.mp4', num_frames=40)


@pytest.fixture
def make_videos(tmp_path, one_video) -> Callable[..., str]:
  """Fills tmp_path/videos with copies of a real video."""

  def make(*names: str) -> str:
    folder = tmp_path / 'videos'
    folder.mkdir(exist_ok=True)
    for name in names:
      (folder / name).parent.mkdir(parents=True, exist_ok=True)
      shutil.copy(one_video, folder / name)
    return str(folder)

  return make


@pytest.fixture
def write(tmp_path) -> Callable[[str, Any], str]:
  """Writes an annotation file: text as it is, JSON, or JSON lines."""

  def write(name: str, content: Any) -> str:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if name.endswith('.jsonl') and not isinstance(content, str):
      content = ''.join(json.dumps(line) + '\n' for line in content)
    elif not isinstance(content, str):
      content = json.dumps(content)
    path.write_text(content, encoding='utf-8')
    return str(path)

  return write


@pytest.fixture
def excerpt() -> Callable[[str], str]:
  """A file of real annotations, where the machine has them."""

  def find(name: str) -> str:
    path = SHARED / name
    if not path.exists():
      pytest.skip(f'{path} is not here')
    return str(path)

  return find


def by_id(rows: Iterable[Any]) -> dict[str, Any]:
  rows = list(rows)
  found = {row.clip_id: row for row in rows}
  assert len(found) == len(rows), 'a clip id is used twice'
  return found


@pytest.fixture(name='by_id')
def _by_id() -> Callable[[Iterable[Any]], dict[str, Any]]:
  return by_id


@pytest.fixture
def names() -> Callable[[Any], Sequence[str]]:
  return lambda row: [name.name for name in row.names]
