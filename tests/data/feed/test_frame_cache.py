"""Frames of a batch: the same however they come, kept while there is room."""

import dataclasses
import io

import numpy as np
import PIL.Image
import pytest

from vidlm.data.feed import frame_cache, pixels
from vidlm.data.store import clip_schema, records


def record(value: int) -> bytes:
  frames = []
  for number in range(3):
    image = np.arange(20 * 20 * 3).reshape(20, 20, 3) * (value + number) % 256
    buffer = io.BytesIO()
    PIL.Image.fromarray(image.astype(np.uint8)).save(buffer, 'JPEG')
    frames.append(buffer.getvalue())
  row = clip_schema.ClipRow(
    f'clip{value}', 'drawn', 0.0, 2.0, tuple(frames), (0.0, 0.5, 1.0)
  )
  return clip_schema.serialize(row)


STORED = [record(1), b'', record(2), record(1)]
SEEDS = np.array([[0, i] for i in range(4)], np.int32)
SHAPE = 2, 16  # T, pixels
OPTIONS = frame_cache.FrameOptions(*SHAPE, cache_mib=1)


@pytest.fixture
def cache(monkeypatch):
  cache = frame_cache.FrameCache()
  monkeypatch.setattr(frame_cache, '_cache', cache)
  return cache


def test_frames_are_those_of_evaluation(cache, monkeypatch):
  evaluate = pixels.eval_frames_from_jpeg
  for _ in range(2):  # decoded, then kept
    frames, mask = frame_cache.batch_frames(STORED, SEEDS, OPTIONS)
    for i in (0, 2, 3):
      wanted = evaluate(records.encoded_frames(STORED[i]), *SHAPE)
      np.testing.assert_array_equal(frames[i], wanted[0])
      np.testing.assert_array_equal(mask[i], wanted[1])
    assert not frames[1].any() and not mask[1].any()
    monkeypatch.delattr(pixels, 'eval_frames_from_jpeg', raising=False)
  kept = cache.get((STORED[0], 2, 16))
  np.testing.assert_array_equal(kept[0], frames[0])
  assert cache.get((STORED[0], 2, 8)) is None


def test_what_does_not_fit_is_not_kept(cache):
  # Two of 0.6 MiB don't fit into one.
  options = dataclasses.replace(OPTIONS, image_size=320)
  frame_cache.batch_frames(STORED[:1], SEEDS[:1], options)
  frame_cache.batch_frames(STORED[2:], SEEDS[2:], options)
  assert cache.get((STORED[0], 2, 320)) is not None
  assert cache.get((STORED[2], 2, 320)) is None
  none = dataclasses.replace(OPTIONS, cache_mib=0)
  frame_cache.batch_frames(STORED, SEEDS, none)
  assert cache.get((STORED[0], 2, 16)) is None


def test_augmentation_is_of_the_example(cache):
  options = dataclasses.replace(OPTIONS, augment=True)
  frames, mask = frame_cache.batch_frames(STORED, SEEDS, options)
  again, _ = frame_cache.batch_frames(STORED[::-1], SEEDS[::-1], options)
  np.testing.assert_array_equal(again[::-1], frames)
  assert (frames[0] != frames[3]).any()  # one clip, two examples
  assert mask.all(1).tolist() == [True, False, True, True]
  assert cache.get((STORED[0], 2, 16)) is None


def test_a_broken_frame_is_said(cache):
  with pytest.raises(ValueError, match="clip '': no clip record"):
    frame_cache.batch_frames([b'nonsense'], SEEDS[:1], OPTIONS)
  row = clip_schema.ClipRow('a', 'a', 0.0, 1.0, (b'nonsense',), (0.0,))
  stored = [clip_schema.serialize(row)]
  with pytest.raises(ValueError, match=r"clip 'a': .*no usable JPEG"):
    frame_cache.batch_frames(stored, SEEDS[:1], OPTIONS)
