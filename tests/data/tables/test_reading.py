"""Tables of texts, written by any tool, read back equal."""

import codecs
import csv
import gzip
import io
import json
import pathlib
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vidlm.data.tables import dialects, reading, texts

# Column names hold none of the delimiters; cells hold anything, line breaks and
# delimiters too. NUL is what binary files have.
_NAMES = st.lists(
  st.sampled_from(['clip_id', 'caption', 'Pred', 'the answer', 'début', '字']),
  min_size=1,
  max_size=4,
  unique=True,
)
_CELL = st.one_of(
  st.sampled_from(
    ['', 'a', ',;\t|', '"', 'it\'s "x"', 'a\r\nb\n\nc', '\\', '=1']
  ),
  st.text(
    st.characters(blacklist_categories=['Cs'], blacklist_characters='\0'),
    max_size=12,
  ),
)


@st.composite
def tables(draw: Any) -> list[dict[str, str]]:
  names = draw(_NAMES)
  # A row of blank cells is none; spreadsheets leave them at the end.
  row = st.fixed_dictionaries(dict.fromkeys(names, _CELL)).filter(
    lambda cells: any(cell.strip() for cell in cells.values())
  )
  return draw(st.lists(row, min_size=1, max_size=5))


def encoded(text: str, encoding: str) -> bytes:
  marks = {'utf-16-le': b'', 'utf-16-be': b''}
  if encoding == 'utf-16-be+mark':
    return codecs.BOM_UTF16_BE + text.encode('utf-16-be')
  return marks.get(encoding, b'') + text.encode(encoding)


ENCODINGS = (
  'utf-8', 'utf-8-sig', 'utf-16', 'utf-16-be+mark', 'utf-16-le', 'utf-16-be',
  'utf-32',
)  # fmt: skip
# Without a mark, zeros beside commas and line ends tell UTF-16.
MARKED = [name for name in ENCODINGS if name not in ('utf-16-le', 'utf-16-be')]
quick = settings(
  max_examples=150,
  deadline=None,
  suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def write(path: pathlib.Path, data: bytes, packed: bool) -> pathlib.Path:
  """Writes a file, packed or not, the name silent about it every other time."""
  if packed and len(data) % 2:
    path = path.with_name(path.name + '.gz')
  path.write_bytes(gzip.compress(data, 1) if packed else data)
  return path


def values(path: pathlib.Path) -> list[dict[str, Any]]:
  return [row for _, row in reading.rows(path)]


@quick
@given(
  tables(),
  st.sampled_from(dialects.DELIMITERS),
  st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
  st.sampled_from(['\r\n', '\n', '\r']),
  st.sampled_from(ENCODINGS),
  st.booleans(),
  st.sampled_from(['.csv', '.tsv', '.CSV', '.txt']),
)
def test_cells_between_delimiters(
  tmp_path, table, delimiter, quoting, end, encoding, packed, suffix
):
  file = io.StringIO()
  writer = csv.DictWriter(
    file, list(table[0]), delimiter=delimiter, quoting=quoting,
    lineterminator=end,
  )  # fmt: skip
  writer.writeheader()
  writer.writerows(table)
  data = encoded(file.getvalue(), encoding)
  assert values(write(tmp_path / f't{suffix}', data, packed)) == table


@quick
@given(
  tables(),
  st.sampled_from(dialects.DELIMITERS),
  st.sampled_from(['\r\n', '\n']),
  st.sampled_from(ENCODINGS),
)
def test_cells_quoted_where_they_must_be(
  tmp_path, table, delimiter, end, encoding
):
  # Python's own writer leaves some line ends unquoted: not this file's matter.
  table = [{k: v.replace('\r', '\n') for k, v in r.items()} for r in table]
  table = [row for row in table if any(v.strip() for v in row.values())]
  file = io.StringIO()
  writer = csv.DictWriter(
    file, list(table[0]), delimiter=delimiter, lineterminator=end
  )
  writer.writeheader()
  writer.writerows(table)
  data = encoded(file.getvalue(), encoding)
  if len(table[0]) == 1:
    return  # What stands between cells can't be told where there is but one.
  assert values(write(tmp_path / 't.csv', data, False)) == table


@quick
@given(
  tables(),
  st.sampled_from(['list', 'lines', 'lines.json', 'columns', 'pandas', 'data']),
  st.sampled_from(ENCODINGS),
  st.booleans(),
  st.booleans(),
)
def test_json(tmp_path, table, form, encoding, packed, ascii_):
  def dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=ascii_)

  suffix, text = '.json', dump(table)
  if form.startswith('lines'):
    suffix = '.json' if form.endswith('.json') else '.jsonl'
    text = '\r\n'.join(map(dump, table)) + '\n\n'
    if suffix == '.json' and len(table) == 1:
      return  # One object: the reader of rows can't know that it is one.
  elif form == 'data':
    text = dump({'version': 1, 'data': table})
  elif form in ('columns', 'pandas'):
    if len(table[0]) == 1:
      return
    columns = {name: [row[name] for row in table] for name in table[0]}
    if form == 'pandas':
      columns = {
        name: {str(i): cell for i, cell in enumerate(cells)}
        for name, cells in columns.items()
      }
    text = dump(columns)
  data = encoded(text, encoding)
  assert values(write(tmp_path / f't{suffix}', data, packed)) == table


@quick
@given(tables(), st.booleans())
def test_parquet(tmp_path, table, packed):
  file = io.BytesIO()
  pq.write_table(pa.Table.from_pylist(table), file)
  path = write(tmp_path / 't.parquet', file.getvalue(), packed)
  assert values(path) == table


def test_lines_are_those_of_an_editor(tmp_path):
  path = tmp_path / 't.csv'
  path.write_text('id,text\n1,"a\nb"\n\n2,c\n', newline='')
  assert [number for number, _ in reading.rows(path)] == [3, 5]


def test_a_cell_of_a_megabyte(tmp_path):
  long = 'a dog, ' * 150_000
  path = tmp_path / 't.csv'
  path.write_text(f'id,text\n1,"{long}"\n')
  assert values(path) == [{'id': '1', 'text': long}]


@pytest.mark.parametrize('delimiter', [',', ';', '\t'])
def test_excel_says_its_delimiter(tmp_path, delimiter: str):
  path = tmp_path / 't.csv'
  row = delimiter.join(['1', 'a', 'b'])
  path.write_text(f'sep={delimiter}\nid{delimiter}text\n1{delimiter}a\n{row}\n')
  with pytest.raises(ValueError, match='line 4: 3 cells for 2'):
    values(path)
  path.write_text(f'sep={delimiter}\r\nid{delimiter}text\r\n1{delimiter}a\r\n')
  assert values(path) == [{'id': '1', 'text': 'a'}]


def test_quotes_of_other_tools(tmp_path):
  path = tmp_path / 't.csv'
  path.write_text('id,text\n1,"a \\"red\\", big dog"\n')
  assert values(path) == [{'id': '1', 'text': 'a "red", big dog'}]
  # A tab-separated table that knows no quotes.
  path = tmp_path / 't.tsv'
  path.write_text('id\ttext\n1\t"Stop" says a sign\n2\ta 5" pipe\n')
  assert [row['text'] for row in values(path)] == [
    '"Stop" says a sign', 'a 5" pipe']  # fmt: skip


@pytest.mark.parametrize(
  ('data', 'message'),
  [
    (b'id,text\n1,a\n2,caf\xe9\n', r'line 3: not UTF-8 \(bytes e9 0a\)'),
    (b'id,text\r1,a\r2,caf\xe9\r', 'line 3: not UTF-8'),
    (
      codecs.BOM_UTF16_BE + 'id,text\n1,a\n'.encode('utf-16-be') + b'\xdc\0\0a',
      'line 3: not UTF-16',
    ),
    (b'id,text\n1,a,b\n', 'line 2: 3 cells for 2 columns'),
    (b'id,text\n1,"a" b\n2,"c, d"\n', 'line 2: .*double the quotes'),
    (b'id,text\n1,"a\n2,b\n', 'line 2: a cell begins with a quote'),
    (b'id,text\n' + b'1,a\n' * 99_999 + b'1,\xff\n', 'line 100001: not UTF-8'),
    (gzip.compress(b'id,text\n1,a\n', mtime=0)[:-9], 'damaged gzip'),
  ],
)
def test_damage_has_its_line(tmp_path, data: bytes, message: str):
  path = tmp_path / 't.csv'
  path.write_bytes(data)
  with pytest.raises(ValueError, match=r't\.csv: ' + message):
    values(path)


@pytest.mark.parametrize(
  ('name', 'text', 'message'),
  [
    ('t.jsonl', '{"a": 1}\n\n{"a"\n', 'line 3, column 5: not JSON'),
    ('t.jsonl', '{"a": 1}\n3\n', 'row 2: not an object'),
    ('t.json', '[\n{"a": 1},\n]', 'line 3, column 1: not JSON'),
    ('t.json', '{"a": 1}\n{"a": }\n', 'line 2, column 7: not JSON'),
    ('t.json', '[' * 100_000, 'not JSON'),
    ('t.json', '9' * 5000, 'not JSON'),
    ('t.json', '3', 'not a list of rows'),
    ('t.json', '{"a": "x"}', 'not a list of rows'),
    ('t.parquet', 'PAR1', 'not Parquet'),
    ('t.xlsx', 'PK', r'need \.jsonl'),
  ],
)
def test_no_tables(tmp_path, name: str, text: str, message: str):
  path = tmp_path / name
  path.write_text(text)
  with pytest.raises(ValueError, match=f'{name}: {message}'):
    values(path)


def test_two_columns_of_one_name_stay_two(tmp_path):
  path = tmp_path / 't.csv'
  path.write_text(' id ,caption,caption,,\n1,a,b,,\n')
  assert list(values(path)[0]) == ['id', 'caption', 'caption (2)', '', ' (2)']


@given(
  st.lists(
    st.text(
      st.characters(blacklist_categories=['Cs', 'Cc', 'Zl', 'Zp']), min_size=1
    ).filter(lambda entry: entry.strip() == entry and entry[0] != '\ufeff')
  ),
  st.sampled_from(['\n', '\r\n', '\r', ' \n', '\t\r\n', '\n\n']),
  st.sampled_from(MARKED),
)
@quick
def test_lists(tmp_path, entries, end, encoding):
  path = tmp_path / 'classes.txt'
  path.write_bytes(encoded(end.join(entries), encoding))
  assert texts.entries(path) == entries
