"""An error is a line that fits; what doesn't fit is in a file."""

import pathlib
import re
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidlm.core import ids, launch, messages


@pytest.fixture(autouse=True, scope='module')
def kept(tmp_path_factory):
  """The folder the files go to."""
  before = tempfile.tempdir
  tempfile.tempdir = str(tmp_path_factory.mktemp('whole'))
  yield pathlib.Path(tempfile.tempdir)
  tempfile.tempdir = before


def whole_of(line: str) -> str:
  (path,) = re.findall(r'\[the whole: (.+)\]$', line)
  return pathlib.Path(path).read_text('utf-8')


def test_short_ones_stay_as_they_are(kept):
  before = len(list(kept.iterdir()))
  assert messages.one_line(ValueError('a: b;\n c')) == 'a: b; c'
  assert len(list(kept.iterdir())) == before


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=30), st.integers(1, 400))
def test_any_message_is_one_line_of_at_most_1000(text: str, times: int):
  error = ValueError('where: ' + text * times + '; do this')
  line = messages.one_line(error)
  assert len(line) <= messages.LIMIT
  assert len(line.splitlines()) == 1
  assert line.startswith('where:')
  if len(' '.join(str(error).split())) > messages.LIMIT:
    assert '; do this [the whole: ' in line
    assert whole_of(line).split() == _escaped(str(error)).split()


def _escaped(text: str) -> str:
  return text.encode('utf-8', 'backslashreplace').decode()


def test_a_list_is_cut_to_five_and_the_file_has_all(capsys):
  wanted = [f'clip_{n:04}' for n in range(3000)]
  with pytest.raises(ValueError) as caught:
    ids.match({'other': 'x'}, wanted)
  with pytest.raises(SystemExit):
    raise launch.fail(caught.value)
  said = capsys.readouterr().err
  assert len(said.splitlines()) == 1 and len(said.rstrip()) <= messages.LIMIT
  assert "3000 are missing ('clip_0000', 'clip_0001'" in said
  assert "'clip_0004' and 2995 more)" in said and 'clip_0005' not in said
  assert set(wanted) <= set(whole_of(said.rstrip()).split())


def test_a_folder_that_takes_no_file_costs_no_message(monkeypatch):
  monkeypatch.setattr(tempfile, 'tempdir', '/nowhere')
  line = messages.one_line(ValueError('a' * 5000))
  assert len(line) <= messages.LIMIT and 'whole' not in line


def test_some():
  assert messages.some('abc') == 'a, b, c'
  assert messages.some(range(7)) == '0, 1, 2, 3, 4 and 2 more'
