"""A size of 0 keeps the size of whatever becomes a clip; and its neighbours."""

import io

import numpy as np
import pytest
from PIL import Image

from vidlm.captions import folder as caption_folder
from vidlm.data.video import sampling, worker

_SIZE = (96, 64)
_KINDS = ['mp4', 'mkv', 'gif', 'webp', 'apng', 'jpg', 'still.png', 'frames']


def make(videos, folder, kind: str) -> str:
  """Writes a film, a picture or a folder of frames of 96 x 64 pixels."""
  path = folder / f'a.{kind}'
  pictures = [
    Image.fromarray(videos.draw(number, *_SIZE)) for number in range(3)
  ]
  if kind in ('mp4', 'mkv'):
    return videos.write(path, num_frames=12)
  if kind == 'frames':
    path.mkdir()
    for number, picture in enumerate(pictures):
      picture.save(path / f'{number}.png')
  elif kind in ('gif', 'webp', 'apng'):
    form = kind.replace('apng', 'png')
    pictures[0].save(
      path, form, save_all=True, append_images=pictures[1:], duration=200
    )
  else:
    pictures[0].save(path)
  return str(path)


def sizes(path: str, size: int | None) -> set[tuple[int, int]]:
  how = sampling.Sampling(size=size)
  result = worker.decode(worker.DecodeTask(path, sampling=how))
  assert result.ok, result.message
  return {Image.open(io.BytesIO(frame)).size for frame in result.frames}


@pytest.mark.parametrize('kind', _KINDS)
def test_zero_keeps_the_size(videos, tmp_path, kind: str) -> None:
  path = make(videos, tmp_path, kind)
  assert sizes(path, 0) == sizes(path, None) == {_SIZE}
  assert sizes(path, 1) == {(2, 1)}
  assert sizes(path, 64) == {_SIZE}
  assert sizes(path, 65) == {(98, 65)}


@pytest.mark.parametrize('kind', _KINDS)
def test_the_largest_size_and_one_beyond(videos, tmp_path, kind: str) -> None:
  path = make(videos, tmp_path, kind)
  for size, reason in ((128, ''), (129, 'too_large')):
    limits = sampling.Limits(max_pixels=192 * 128)
    how = sampling.Sampling(size=size, limits=limits)
    result = worker.decode(worker.DecodeTask(path, sampling=how))
    assert result.reason == reason


def test_zero_to_caption(videos, tmp_path) -> None:
  """A model is shown what is left at the file's own size, not a pixel of it."""
  make(videos, tmp_path, 'mp4')
  shown = []
  for size in (0, 64, 1):
    source = caption_folder.FolderSource(
      str(tmp_path),
      caption_folder.Cutting(sampling=sampling.Sampling(size=size)),
      num_frames=8,
      image_size=32,
      workers=0,
    )
    ((_, clips),) = source.open([0])
    shown.append(next(iter(clips)).frames)
    source.close()
  np.testing.assert_array_equal(shown[0], shown[1])
  pixel, whole = (frames.std((1, 2)).mean() for frames in shown[::-2])
  assert whole > 2 * pixel
