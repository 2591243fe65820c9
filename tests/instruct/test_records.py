"""The append-only log, torn ends, captions files."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vidlm.instruct import records


def _record(clip_id: str, **changes) -> records.Record:
  values = {
    'clip_id': clip_id,
    'source': 's',
    'kind': 'short',
    'draw': 0,
    'attempt': 0,
    'caption': 'a dog \ud83d\ude00',
    'fewshot_ids': ['egg', 'bicycle'],
    'prompt_sha': 'abc',
    'llm': 'm',
    'llm_reported': 'm-1',
    'endpoint': 'e',
    'raw': 'Question: a\nAnswer: b\u2028',
    'finish_reason': 'stop',
    'tokens': 7,
    'question': 'a',
    'answer': 'b',
    'flags': [],
    'status': 'accepted',
    'reject_reason': None,
    'seed': 0,
  }
  return records.Record(**{**values, **changes})


def _write(path, *clip_ids: str) -> records.RecordLog:
  log = records.RecordLog(path, batch_size=2)
  with log:
    for clip_id in clip_ids:
      log.append(_record(clip_id))
  return log


def test_round_trip(tmp_path):
  log = _write(tmp_path / 'r.jsonl', 'a', 'b', 'c')
  read = list(log.read())
  assert [record.clip_id for record in read] == ['a', 'b', 'c']
  assert read[0].raw == 'Question: a\nAnswer: b\u2028'
  assert read[0].key == ('a', 'short', 0, 0, 'abc', 'm')


def test_no_file_is_no_records(tmp_path):
  assert list(records.RecordLog(tmp_path / 'r.jsonl').read()) == []


@pytest.mark.parametrize('cut', [1, 5, 60])
def test_torn_last_line_is_cut_and_written_over(tmp_path, cut: int):
  path = tmp_path / 'r.jsonl'
  log = _write(path, 'a', 'b')
  path.write_bytes(path.read_bytes()[:-cut])
  assert [record.clip_id for record in log.read()] == ['a']
  with log:
    log.append(_record('c'))
  assert [record.clip_id for record in log.read()] == ['a', 'c']


def test_damage_in_the_middle_is_an_error(tmp_path):
  path = tmp_path / 'r.jsonl'
  log = _write(path, 'a', 'b', 'c')
  lines = path.read_text('utf-8').split('\n')
  path.write_text('\n'.join([lines[0], lines[1][:30], *lines[2:]]), 'utf-8')
  with pytest.raises(ValueError, match=r'r\.jsonl line 2 is no record'):
    list(log.read())


def test_lone_surrogates_can_be_written(tmp_path):
  log = records.RecordLog(tmp_path / 'r.jsonl')
  with log:
    log.append(_record('a', raw='x\ud800y'))
  assert next(log.read()).raw == 'x?y'


def test_instructions(tmp_path):
  path = tmp_path / 'i.parquet'
  records.write_instructions([_record('a'), _record('b')], path)
  table = pq.read_table(path)
  assert table.column_names == ['clip_id', 'question', 'answer', 'kind']
  assert table.to_pylist()[1] == {
    'clip_id': 'b',
    'question': 'a',
    'answer': 'b',
    'kind': 'short',
  }
  records.write_instructions([], path)
  assert pq.read_table(path).num_rows == 0
  assert [p.name for p in tmp_path.iterdir()] == ['i.parquet']


_ROWS = [
  {'clip_id': 'a', 'caption': 'A dog, "x".'},
  {'clip_id': 7, 'caption': 'B'},
]


def _captions_file(path):
  if path.suffix == '.jsonl':
    path.write_text('\n\n'.join(map(json.dumps, _ROWS)))
  elif path.suffix == '.parquet':
    rows = [{**row, 'clip_id': str(row['clip_id'])} for row in _ROWS]
    pq.write_table(pa.Table.from_pylist(rows), path)
  else:
    path.write_text(
      '\ufeffclip_id,caption\r\na,"A dog, ""x""."\r\n7,B\r\n', 'utf-8'
    )
  return path


@pytest.mark.parametrize('suffix', ['.jsonl', '.csv', '.parquet'])
def test_read_captions(tmp_path, suffix: str):
  path = _captions_file(tmp_path / f'c{suffix}')
  assert list(records.read_captions(path)) == [
    records.Caption('a', 'A dog, "x".', path.name),
    records.Caption('7', 'B', path.name),
  ]


def test_read_other_columns_lists_and_empty_rows(tmp_path):
  path = tmp_path / 'c.jsonl'
  rows = [
    {'id': 'a', 'texts': ['The man runs.', ' The dog sits. '], 'source': 'v'},
    {'id': 'b', 'texts': ' '},
    {'id': 'c', 'texts': None},
  ]
  path.write_text('\n'.join(map(json.dumps, rows)))
  assert list(
    records.read_captions(path, clip_id_column='id', caption_column='texts')
  ) == [records.Caption('a', 'The man runs. The dog sits.', 'v')]


def test_read_captions_errors(tmp_path):
  with pytest.raises(FileNotFoundError, match='no such captions file'):
    list(records.read_captions(tmp_path / 'c.csv'))
  path = _captions_file(tmp_path / 'c.csv')
  with pytest.raises(ValueError, match="has no column 'text'; it has clip_id"):
    list(records.read_captions(path, caption_column='text'))
  with pytest.raises(ValueError, match=r'need \.jsonl'):
    list(records.read_captions(_captions_file(tmp_path / 'c.xlsx')))
