"""Clip sets of a frame each, whose texts are what a test says."""

import io
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vidlm.data.feed import vocabulary
from vidlm.data.store import caption_sets, clip_schema, clip_writer

WORDS = pathlib.Path(__file__).parents[2] / 'testdata' / 'feed' / 'words.model'


def jpeg() -> bytes:
  buffer = io.BytesIO()
  PIL.Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(buffer, 'JPEG')
  return buffer.getvalue()


FRAME = jpeg()


class Sets:
  """Makes clip sets and what is joined with them."""

  def __init__(self, folder: pathlib.Path):
    self.folder = folder

  def clips(self, rows: Sequence[dict[str, Any]], split: str = 'train') -> str:
    """Writes a clip set; row i is called c<i> unless it says otherwise."""
    made = [
      clip_schema.ClipRow(
        **{
          'clip_id': f'c{i}',
          'video': 'v',
          'start': 0.0,
          'end': 1.0,
          'frames': (FRAME,),
          'times': (0.0,),
          **row,
        }
      )
      for i, row in enumerate(rows)
    ]
    folder = str(self.folder / 'clips')
    clip_writer.write_clips(made, folder, 'toy', split, overwrite=True)
    return folder

  def captions(self, texts: dict[str, Sequence[str]]) -> str:
    """Writes a finished caption set of {clip id: captions}."""
    folder = self.folder / 'captions'
    folder.mkdir(exist_ok=True)
    rows = [
      caption_sets.CaptionRow(clip_id, captions=own)
      for clip_id, own in texts.items()
    ]
    config = {'model': 'm'}
    info = caption_sets.FileInfo(
      caption_sets.config_hash(config), config, 'digest', 'm'
    )
    path = folder / caption_sets.file_name(0, 1)
    caption_sets.write_file(path, rows, info)
    (folder / caption_sets.MANIFEST).write_bytes(
      caption_sets.manifest_bytes(config, [caption_sets.describe_file(path)])
    )
    return str(folder)

  def instructions(self, rows: Sequence[dict[str, Any]], **types: Any) -> str:
    """Writes an instructions.parquet."""
    text = pa.string()
    columns = {'clip_id': text, 'question': text, 'answer': text, 'kind': text}
    table = pa.Table.from_pylist(list(rows), pa.schema({**columns, **types}))
    path = self.folder / 'instructions.parquet'
    pq.write_table(table, path)
    return str(path)


@pytest.fixture(scope='session')
def new_sets(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Sets]:
  """Sets in a folder of their own, as often as one likes."""
  return lambda: Sets(tmp_path_factory.mktemp('sets'))


@pytest.fixture
def sets(tmp_path: pathlib.Path) -> Sets:
  return Sets(tmp_path)


@pytest.fixture(scope='session')
def words() -> vocabulary.Vocabulary:
  return vocabulary.Vocabulary(str(WORDS))


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
  """What was logged since it was asked for last."""
  caplog.set_level('INFO')

  def take() -> list[str]:
    lines = [record.getMessage() for record in caplog.records]
    caplog.clear()
    return lines

  return take
