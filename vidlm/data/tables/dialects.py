"""Tables with one row a line: what stands between cells, and how it is quoted.

The csv module reads them, not pyarrow's reader: that one takes texts for times
and numbers, has to be told the dialect, and names no lines.
"""

import csv
import dataclasses
import io
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Sequence

from vidlm.data.tables import texts

DELIMITERS = ',;\t|'
_MAX_CELL = 1 << 26  # Characters; the module's own limit is 131,072.
_SAMPLE = 1 << 18
_UNENDED = 'unexpected end'  # As the csv module says it.
_SEP = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Dialect:
  """How a table is written.

  Attributes:
    delimiter: Between cells.
    quoting: 'double' (a quote in quotes is doubled), 'backslash' (it has one
      before it) or 'none'.
    skip: Lines before the header: Excel's `sep=;`.
  """

  delimiter: str
  quoting: str = 'double'
  skip: int = 0


_QUOTING: dict[str, dict] = {
  'double': {'strict': True},
  'backslash': {'strict': True, 'doublequote': False, 'escapechar': '\\'},
  'none': {'quoting': csv.QUOTE_NONE},
}


def _reader(source: Iterable[str], dialect: Dialect):
  # Never set back: readers may be at work beside each other.
  if csv.field_size_limit() < _MAX_CELL:
    csv.field_size_limit(_MAX_CELL)
  return csv.reader(
    source, delimiter=dialect.delimiter, **_QUOTING[dialect.quoting]
  )


def choose(path: texts.PathLike, delimiters: str = DELIMITERS) -> Dialect:
  """Returns the dialect in which the beginning of a table makes most sense.

  Each is tried on it: the one in which all rows have the header's number of
  cells, and there are most of them; of quotes, doubled ones before others.

  Args:
    path: Path of the table.
    delimiters: Those to try.

  Raises:
    FileNotFoundError: If there is no such file.
    ValueError: If it is neither UTF-8 nor UTF-16; names the line.
  """
  with texts.open_text(path) as file:
    sample = file.read(_SAMPLE)
    cut = bool(file.read(1))
  skip = 0
  first = re.split(r'\r\n|\r|\n', sample, maxsplit=1)[0]
  told = _SEP.fullmatch(first)
  if told:
    delimiters, skip = told[1], 1
    sample = sample[len(first) :].lstrip('\r\n')
  best = max(
    (
      _Fit.of(sample, cut, Dialect(delimiter, skip=skip))
      for delimiter in delimiters
    ),
    key=lambda fit: fit.key,
  )
  if not best.broken or best.unended:
    return best.dialect
  others = ['none'] if '\\"' not in sample else ['backslash', 'none']
  for quoting in others:
    for delimiter in delimiters:
      fit = _Fit.of(sample, cut, Dialect(delimiter, quoting, skip))
      if fit.same == 1 and fit.width == best.width:
        return fit.dialect
  return best.dialect  # `cells` tells what is wrong, with its line.


@dataclasses.dataclass(frozen=True)
class _Fit:
  """How well a dialect fits a table's beginning.

  Attributes:
    dialect: The dialect.
    width: Cells of the header.
    same: Share of rows with so many.
    broken: Whether quotes are not as they should be.
    unended: Whether it is because a quoted cell doesn't end.
  """

  dialect: Dialect
  width: int
  same: float
  broken: bool = False
  unended: bool = False

  @property
  def key(self) -> tuple[bool, float, int]:
    """The higher, the better."""
    # A header of one cell is no sign of a delimiter that isn't there.
    return self.width > 1, 0.0 if self.broken else self.same, self.width

  @classmethod
  def of(cls, sample: str, cut: bool, dialect: Dialect) -> '_Fit':
    """Tries a dialect on a sample, which may be cut anywhere."""
    rows: list[list[str]] = []
    broken = unended = False
    try:
      for row in _reader(io.StringIO(sample, newline=''), dialect):
        rows.append(row)
    except csv.Error as error:
      unended = _UNENDED in str(error) and not cut
      broken = unended or _UNENDED not in str(error)
    else:
      rows = rows[:-1] if cut else rows
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    width = len(rows[0]) if rows else 0
    same = sum(len(row) == width for row in rows) / max(len(rows), 1)
    return cls(dialect, width, same, broken, unended)


def cells(
  path: texts.PathLike, dialect: Dialect | None = None
) -> Iterator[tuple[int, list[str]]]:
  """Yields the line each row ends at, and its cells as they stand.

  Rows of blank cells, which spreadsheets leave at the end, are left out.

  Args:
    path: Path of the table.
    dialect: By default `choose`'s.

  Raises:
    FileNotFoundError: If there is no such file.
    ValueError: If it can't be read; names the line.
  """
  dialect = dialect or choose(path)
  with texts.open_text(path) as file:
    lines = itertools.islice(file, dialect.skip, None)
    reader = _reader(lines, dialect)
    number = dialect.skip
    try:
      for row in reader:
        number = reader.line_num + dialect.skip
        if any(cell.strip() for cell in row):
          yield number, row
    except csv.Error as error:
      # The row that is at fault begins behind the last good one.
      raise ValueError(
        f'{os.fspath(path)}: line {number + 1}: {_told(error)}'
      ) from None


def _told(error: csv.Error) -> str:
  if _UNENDED in str(error):
    return 'a cell begins with a quote and none ends it; is the file whole?'
  return f'{error}; in a quoted cell, double the quotes'


def rows(
  path: texts.PathLike, delimiters: str = DELIMITERS
) -> Iterator[tuple[int, dict[str, str]]]:
  """Yields line numbers and rows of a table with a header.

  Args:
    path: Path of the table.
    delimiters: Those to try.

  Raises:
    FileNotFoundError: If there is no such file.
    ValueError: If it can't be read, or a row has other than the header's
      number of cells; names the line.
  """
  found = cells(path, choose(path, delimiters))
  header = header_names(next(found, (0, []))[1])
  for number, row in found:
    if len(row) != len(header):
      raise ValueError(
        f'{os.fspath(path)}: line {number}: {len(row)} cells for '
        f'{len(header)} columns; quote cells that hold the delimiter'
      )
    yield number, dict(zip(header, row, strict=True))


def header_names(row: Sequence[str]) -> list[str]:
  """Returns the names of columns; a second `caption` is `caption (2)`."""
  names: list[str] = []
  for cell in row:
    bare = name = cell.strip().strip('\ufeff"').strip()
    count = 1
    while name in names:
      count += 1
      name = f'{bare} ({count})'
    names.append(name)
  return names
