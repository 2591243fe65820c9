"""Clips of folders of films, whole and cut."""

import pytest

from vidlm.data.video import cuts, decode_pool, listing, sampling


def test_folder_is_listed(videos, tmp_path) -> None:
  folder = tmp_path / 'videos'
  (folder / 'b').mkdir(parents=True)
  outside = videos.write(tmp_path / 'outside.mp4', num_frames=3)
  for name in ['v_a b.mp4', 'b/c.MKV', 'b/c.mp4', '.hidden.mp4', 'd.txt']:
    (folder / name).write_bytes(b'')
  (folder / 'link.mp4').symlink_to(outside)
  (folder / 'inner.mp4').symlink_to(folder / 'v_a b.mp4')
  entries = listing.folder_clips(str(folder))
  assert [(e.clip_id, e.video) for e in entries] == [
    ('b/c.MKV', 'b/c.MKV'),
    ('b/c.mp4', 'b/c.mp4'),
    ('inner', 'inner.mp4'),
    ('v_a b', 'v_a b.mp4'),
  ]
  with pytest.raises(FileNotFoundError, match='no such folder'):
    listing.list_videos(str(tmp_path / 'none'))
  with pytest.raises(FileNotFoundError, match='give its folder'):
    listing.list_videos(str(outside))
  (tmp_path / 'empty').mkdir()
  with pytest.raises(ValueError, match='no video'):
    listing.list_videos(str(tmp_path / 'empty'))


def test_fixed_clips(videos, tmp_path) -> None:
  videos.write(tmp_path / 'a.mp4', num_frames=100)  # 10 s
  (tmp_path / 'b.mp4').write_bytes(b'nothing')
  entries = listing.folder_clips(str(tmp_path), 'fixed:4s', 1)
  assert [(e.clip_id, e.start, e.end, e.reason) for e in entries] == [
    ('a#0000', 0.0, 4.0, ''),
    ('a#0001', 4.0, 8.0, ''),
    ('a#0002', 8.0, 10.0, ''),
    ('b', None, None, 'open_failed'),
  ]


@pytest.mark.parametrize('how', ['fixed:', 'fixed:0s', 'shots', 'fixed:-1s'])
def test_unknown_cut(how: str) -> None:
  with pytest.raises(ValueError, match='need'):
    cuts.check(how)


def test_scenes(tmp_path) -> None:
  import av
  import numpy as np

  path = tmp_path / 'film.mp4'
  with av.open(str(path), 'w') as out:
    stream = out.add_stream('libx264', rate=10)
    stream.width, stream.height, stream.pix_fmt = 96, 64, 'yuv420p'
    for colour in [(250, 20, 20), (20, 20, 250), (20, 200, 20)]:
      for _ in range(30):
        image = np.full((64, 96, 3), colour, np.uint8)
        out.mux(stream.encode(av.VideoFrame.from_ndarray(image, 'rgb24')))
    out.mux(stream.encode())
  assert cuts.boundaries(str(path), 'scenes') == (0.0, 3.0, 6.0, 9.0)
  entries = listing.folder_clips(str(tmp_path), 'scenes', 1)
  assert [(e.start, e.end) for e in entries] == [(0, 3), (3, 6), (6, 9)]


def test_a_film_that_can_not_be_cut_is_one_entry() -> None:
  film = listing.Entry('a', 'a.mp4', '/somewhere/a.mp4')
  failed = decode_pool.DecodeResult('corrupt', 'a.mp4: odd')
  (entry,) = listing.cut_clips(film, failed)
  assert (entry.clip_id, entry.path) == ('a', None)
  assert (entry.reason, entry.message) == ('corrupt', 'a.mp4: odd')


def test_what_cutting_may_cost_is_bounded_by_time() -> None:
  film = listing.Entry('a', 'a.mp4', '/somewhere/a.mp4')
  clip = sampling.Limits(max_pixels=7680 * 4320, memory=1 << 30)
  task = listing.cut_task(film, 'scenes', clip)
  assert (task.path, task.cut) == ('/somewhere/a.mp4', 'scenes')
  film_limits = task.sampling.limits
  # As large frames as a clip's, of as many frames as a film has.
  assert film_limits.max_pixels == clip.max_pixels
  assert film_limits.memory == clip.memory
  assert film_limits.max_decoded_frames > 1000 * 3600
  assert film_limits.cpu_seconds > 3600 < film_limits.timeout
