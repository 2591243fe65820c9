"""Film or picture, film or sound: what a suffix alone does not tell."""

import os

import pytest

from vidlm.data.video import sniff

_PNG = b'\x89PNG\r\n\x1a\n\0\0\0\rIHDR'


@pytest.mark.parametrize(
  'name, head, kind',
  [
    ('a.png', _PNG + b'....acTL....IDAT', 'video'),
    ('a.PNG', _PNG + b'....IDAT....acTL', 'image'),
    ('a.webp', b'RIFF\0\0\0\0WEBPVP8X\n\0\0\0\x02', 'video'),
    ('a.webp', b'RIFF\0\0\0\0WEBPVP8X\n\0\0\0\x10', 'image'),
    ('a.webp', b'RIFF\0\0\0\0WEBPVP8 ', 'image'),
    ('a.avif', b'\0\0\0\x18ftypavis\0\0\0\0msf1', 'video'),
    ('a.avif', b'\0\0\0\x18ftypavif\0\0\0\0mif1', 'image'),
    ('a.ogg', b'OggS....\x01vorbis', 'no_video_stream'),
    ('a.ogg', b'OggS....\x80theora', 'video'),
    ('go.mod', b'module example.com', 'suffix_unknown'),
    ('MOV001.MOD', b'\0\0\1\xba....', 'video'),
    ('a.mp4', b'anything', ''),
  ],
)
def test_a_suffix_that_does_not_tell(tmp_path, name, head, kind) -> None:
  (tmp_path / name).write_bytes(head)
  assert sniff.kind_of(str(tmp_path / name)) == kind


def test_a_pipe_is_not_waited_for(tmp_path) -> None:
  os.mkfifo(tmp_path / 'a.png')
  assert sniff.kind_of(str(tmp_path / 'a.png')) == 'image'
