"""A file of every suffix that is listed is a film that decodes, in any case."""

import pathlib
import shutil

import av
import pytest

from vidlm.data.video import decoding, inventory, sampling, scanner

_FRAMES = 20
# What files of these suffixes hold: muxer, encoder, options of the muxer.
_H264, _MPEG2, _M2TS = 'libx264', 'mpeg2video', {'mpegts_m2ts_mode': '1'}
_CONTAINERS = {
  ('mp4', _H264): '.mp4 .m4v .mp4v .mpg4 .mj2 .ismv',
  ('mov', _H264): '.mov .qt',
  ('3gp', _H264): '.3gp .3gpp',
  ('3g2', _H264): '.3g2 .3gp2',
  ('f4v', _H264): '.f4v',
  ('matroska', _H264): '.mkv .mk3d',
  ('webm', 'libvpx'): '.webm',
  ('avi', 'mpeg4'): '.avi .divx',
  ('mpegts', _H264): '.ts .m2t .tp .trp .tod',
  ('m2ts', _H264): '.mts .m2ts',
  ('mpeg', 'mpeg1video'): '.mpg .mpeg .mpe',
  ('vob', _MPEG2): '.vob .m2p .evo .vro .mod',
  ('flv', 'flv'): '.flv',
  ('asf', 'wmv2'): '.wmv .asf .wm .dvr-ms',
  ('ogg', 'libvpx'): '.ogv .ogm .ogg .ogx',
  ('gif', 'gif'): '.gif',
}
_STREAMS = {
  ('mpeg2video', _MPEG2): '.m2v .mpv .mp2v .m1v',
  ('h264', _H264): '.h264 .264 .avc',
  ('hevc', 'libx265'): '.h265 .265 .hevc',
}
_SNIFFED = {'.ogg', '.ogx', '.mod'}


def cases(table):
  return [
    pytest.param(muxer, codec, suffix, id=suffix)
    for (muxer, codec), suffixes in table.items()
    for suffix in suffixes.split()
  ]


@pytest.fixture(scope='module')
def film(videos, tmp_path_factory):
  """Writes a film of numbered frames, once a kind."""
  folder = tmp_path_factory.mktemp('films')
  made = {}

  def write(muxer: str, codec: str) -> pathlib.Path:
    if (muxer, codec) not in made:
      path = folder / f'{muxer} {codec}'
      options = _M2TS if muxer == 'm2ts' else {}
      format_ = 'mpegts' if muxer == 'm2ts' else muxer
      with av.open(str(path), 'w', format=format_, options=options) as out:
        stream = out.add_stream(codec, rate=25)
        stream.width, stream.height = 96, 64
        stream.pix_fmt = 'rgb8' if codec == 'gif' else 'yuv420p'
        stream.codec_context.thread_count = 1
        if codec == 'libx265':
          stream.options = {'x265-params': 'log-level=none'}
        for number in range(_FRAMES):
          picture = videos.draw(number, 96, 64)
          frame = av.VideoFrame.from_ndarray(picture, 'rgb24')
          out.mux(stream.encode(frame))
        out.mux(stream.encode())
      made[muxer, codec] = path
    return made[muxer, codec]

  return write


def test_every_suffix_is_here() -> None:
  here = {case.id for case in [*cases(_CONTAINERS), *cases(_STREAMS)]}
  assert here == {*scanner.suffixes('video'), *_SNIFFED}


def check(film, videos, folder, suffix: str) -> None:
  name = 'Film' + ''.join(
    letter.upper() if at % 2 else letter for at, letter in enumerate(suffix)
  )
  shutil.copy(film, folder / name)
  (video,) = inventory.take(str(folder)).videos
  assert video.name == name
  clip = decoding.decode_clip(
    str(folder / name), sampling=sampling.Sampling(fps=25.0, size=None)
  )
  numbers = [videos.read_number(frame) for frame in clip.frames]
  assert numbers == list(range(_FRAMES))


@pytest.mark.parametrize('muxer, codec, suffix', cases(_CONTAINERS))
def test_container(film, videos, tmp_path, muxer, codec, suffix) -> None:
  check(film(muxer, codec), videos, tmp_path, suffix)


@pytest.mark.parametrize('muxer, codec, suffix', cases(_STREAMS))
def test_stream(film, videos, tmp_path, muxer, codec, suffix) -> None:
  check(film(muxer, codec), videos, tmp_path, suffix)
