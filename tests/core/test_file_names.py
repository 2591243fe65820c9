"""Names of files in any bytes, as text and back."""

import os

import hypothesis
import pytest
from hypothesis import strategies as st

from vidlm.core import file_names

_BYTES = st.binary(min_size=1, max_size=8).map(
  lambda b: b.replace(b'/', b'-').replace(b'\0', b'-')
)
# What looks like our own notation, and half of it.
_TRICKY = st.lists(
  st.sampled_from(
    [b'\\', b'\\\\', b'\\udcff', b'udc80', b'\xff', b'\x80', b'\xc3', b'\xa9']
  ),
  min_size=1,
  max_size=5,
).map(b''.join)
NAMES = (st.text(min_size=1).map(lambda t: t.encode('utf-8', 'ignore'))) | (
  _BYTES | _TRICKY
)


@hypothesis.given(st.lists(NAMES, unique=True, max_size=8))
def test_a_text_is_utf8_and_is_one_name(names: list[bytes]) -> None:
  texts = [file_names.as_text(os.fsdecode(name)) for name in names]
  assert len(set(texts)) == len(names)
  for name, text in zip(names, texts, strict=True):
    text.encode()
    assert os.fsencode(file_names.as_name(text)) == name


@hypothesis.given(st.text())
def test_a_name_in_utf8_is_its_text(text: str) -> None:
  hypothesis.assume('\\udc' not in text)
  try:
    text.encode()
  except UnicodeEncodeError:
    return
  assert file_names.as_text(text) == file_names.as_name(text) == text


@pytest.mark.parametrize(
  'name, text',
  [
    (b'caf\xe9.mp4', 'caf\\udce9.mp4'),  # as caption sets always had it
    ('café\\n.mp4'.encode(), 'café\\n.mp4'),
    (b'a\\\xe9', 'a\\\\\\udce9'),
    (b'\\udce9', '\\\\udce9'),
  ],
)
def test_notation(name: bytes, text: str) -> None:
  assert file_names.as_text(os.fsdecode(name)) == text


def test_a_text_is_the_same_in_every_locale(monkeypatch) -> None:
  name = 'é日.mp4'.encode() + b'\xff'
  here = file_names.as_text(os.fsdecode(name))
  monkeypatch.setattr(os, 'fsencode', lambda s: s.encode('latin-1'))
  monkeypatch.setattr(os, 'fsdecode', lambda b: b.decode('latin-1'))
  assert file_names.as_text(name.decode('latin-1')) == here
  assert file_names.as_name(here) == name.decode('latin-1')


@pytest.mark.parametrize(
  'name', ['a  b.mp4', 'a\nb.mp4', 'a\u3000b.mp4', 'a\udcff  b']
)
def test_no_message_tells_where_a_folder_lies(name: str) -> None:
  path, text = f'/home/me/{name}', file_names.as_text(name)
  for message in (f'{path}: no video', f'no video: {path!r}'):
    for said in (message, ' '.join(message.split())):
      told = file_names.in_message(said, path, text)
      assert text in told and '/home/me' not in told
  assert file_names.in_message('no such file', '', 'a') == 'no such file'
