"""Training clips that are in an evaluation set: `prepare --check_overlap`.

Two ways to find them: the id a video has where it comes from (YouTube's, in
most sets), and frames that look the same, by a difference hash of 128 bits,
which survives another size, another codec and another cut of the same film,
but not a mirror image. Everything is reported; what to do about it is for
people to decide.
"""

import dataclasses
import io
import os
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import UInt64

from vidlm.core import files
from vidlm.data.sets import rows
from vidlm.data.store import clip_reader, records

# Ours. Frames differ in no more bits; a clip shares so many frames.
MAX_DISTANCE = 10
MIN_FRAMES = 2
# Looked at in a clip, spread over it. Of 18 real clips, encoded again, shifted
# by 0.7 s or cut to 4 s, 4 frames tell 15, 8 all of them; of 41 others none.
_FRAMES = 8
# Below this standard deviation of grey (0 to 255) all frames look alike.
_FLAT = 6.0
_SIDE = 8
_PAIRS = 1 << 21  # compared at once: 32 MiB
_SHORTEST_ID = 8  # shorter names ("0001") mean nothing outside of their set


@dataclasses.dataclass(frozen=True)
class Overlap:
  """A training clip and an evaluation clip that share something.

  Attributes:
    clip_id: Id in the training set.
    split: Its split.
    reason: 'source' or 'frames'.
    source: The id they share, or ''.
    distance: Bits by which the closest frames differ; -1 for 'source'.
    evaluation: Folder of the evaluation set.
    evaluation_split: Its split.
    evaluation_clip_id: The clip.
  """

  clip_id: str
  split: str
  reason: str
  source: str
  distance: int
  evaluation: str
  evaluation_split: str
  evaluation_clip_id: str


@dataclasses.dataclass(frozen=True)
class Report:
  """What a check has found; str() is for people.

  Attributes:
    training: Folder of the training set.
    checked: Clips looked at.
    overlaps: Every pair.
  """

  training: str
  checked: int
  overlaps: Sequence[Overlap]

  def __str__(self) -> str:
    lines = []
    by_set: dict[tuple[str, str], list[Overlap]] = {}
    for item in self.overlaps:
      key = (item.evaluation, item.evaluation_split)
      by_set.setdefault(key, []).append(item)
    for (folder, split), found in by_set.items():
      of = {
        reason: len({o.clip_id for o in found if o.reason == reason})
        for reason in ('source', 'frames')
      }
      lines.append(
        f'{self.training}: {len({o.clip_id for o in found})} of '
        f'{self.checked} training clips are in {folder}, {split} (by source '
        f'{of["source"]}, by frames {of["frames"]}); see overlap.jsonl'
      )
    none = f'{self.training}: no overlap found in {self.checked} training clips'
    return '\n'.join(lines) or none


def check(training: str, evaluations: Sequence[str]) -> Report:
  """Compares a training set with evaluation sets.

  Args:
    training: Folder of a clip set; its splits called train..., or all of them
      where none is.
    evaluations: Folders of clip sets, or FOLDER:SPLIT; by default the splits
      that are not called train.... May be `training` itself.

  Returns:
    The pairs, also written to overlap.jsonl beside the training set.

  Raises:
    FileNotFoundError: If a set is not there.
    ValueError: If a set has no such split, or there is nothing to compare.
  """
  others = [pair for text in evaluations for pair in _parse(text)]
  if not others:
    raise ValueError(
      f'{", ".join(evaluations)}: no evaluation split there; name it as '
      'FOLDER:SPLIT'
    )
  overlaps: list[Overlap] = []
  checked = 0
  known = [_Known(folder, split) for folder, split in others]
  for split in _training_splits(training):
    same = [k for k in known if k.is_split(training, split)]
    if same:
      raise ValueError(f'{training}: {split} compared with itself')
    sources = clip_sources(training, split)
    for clip_id, hashes in _hashed(training, split):
      checked += 1
      for other in known:
        overlaps += other.matches(clip_id, split, sources[clip_id], hashes)
  report = Report(training, checked, overlaps)
  _write(pathlib.Path(training), overlaps)
  return report


def _parse(text: str) -> list[tuple[str, str]]:
  folder, colon, split = text.rpartition(':')
  if colon and not os.path.exists(text):
    return [(folder, split)]
  found = _splits(text)
  return [(text, s) for s in found if not s.startswith('train')]


def _training_splits(folder: str) -> list[str]:
  found = _splits(folder)
  return [s for s in found if s.startswith('train')] or found


def _splits(folder: str) -> list[str]:
  found = list(clip_reader.splits(folder))
  if not found:
    raise FileNotFoundError(
      f'{folder}: no clip set here; make one with vidlm prepare'
    )
  return found


def clip_sources(folder: str, split: str) -> dict[str, str]:
  """Returns where each clip's video comes from; '' where no name tells."""
  index = clip_reader.open_clips(folder, split).index()
  sources = {
    clip_id: rows.source_id(video)
    for clip_id, video in zip(
      index['clip_id'].to_pylist(), index['video'].to_pylist(), strict=True
    )
  }
  path = pathlib.Path(folder, f'annotated-{split}.parquet')
  if path.exists():
    import pyarrow.parquet as pq

    table = pq.read_table(path, columns=['clip_id', 'source']).to_pylist()
    sources |= {
      item['clip_id']: item['source']
      for item in table
      if item['source'] and item['clip_id'] in sources
    }
  return {
    clip_id: source if len(source) >= _SHORTEST_ID else ''
    for clip_id, source in sources.items()
  }


class _Known:
  """Sources and hashes of an evaluation split."""

  def __init__(self, folder: str, split: str):
    self.folder, self.split = folder, split
    self._by_source: dict[str, list[str]] = {}
    for clip_id, source in clip_sources(folder, split).items():
      if source:
        self._by_source.setdefault(source, []).append(clip_id)
    self._ids: list[str] = []
    owners, hashes = [], []
    for clip_id, found in _hashed(folder, split):
      owners += [len(self._ids)] * len(found)
      hashes.append(found)
      self._ids.append(clip_id)
    self._owners = np.array(owners, np.int64)
    self._hashes = np.concatenate(hashes) if hashes else np.zeros((0, 2))

  def is_split(self, folder: str, split: str) -> bool:
    same = os.path.realpath(folder) == os.path.realpath(self.folder)
    return same and split == self.split

  def matches(
    self,
    clip_id: str,
    split: str,
    source: str,
    hashes: UInt64[np.ndarray, 'T 2'],
  ) -> Iterator[Overlap]:
    """Yields clips of this split that share the source or frames of a clip."""
    for other in self._by_source.get(source, ()):
      yield Overlap(
        clip_id, split, 'source', source, -1, self.folder, self.split, other
      )
    near: dict[int, list[int]] = {}  # evaluation clip -> a distance a frame
    for frame in hashes:
      closest: dict[int, int] = {}
      for first in range(0, len(self._hashes), _PAIRS):
        block = self._hashes[first : first + _PAIRS]
        bits = np.bitwise_count(block ^ frame).sum(-1)
        for at in np.flatnonzero(bits <= MAX_DISTANCE):
          owner = int(self._owners[first + at])
          closest[owner] = min(closest.get(owner, 128), int(bits[at]))
      for owner, distance in closest.items():
        near.setdefault(owner, []).append(distance)
    for owner, distances in near.items():
      # A clip of one frame can't share two.
      if len(distances) < min(MIN_FRAMES, len(hashes)):
        continue
      yield Overlap(
        clip_id,
        split,
        'frames',
        '',
        min(distances),
        self.folder,
        self.split,
        self._ids[owner],
      )


def _hashed(
  folder: str, split: str
) -> Iterator[tuple[str, UInt64[np.ndarray, 'T 2']]]:
  """Yields each clip's id and the hashes of its frames, flat ones left out."""
  reader = clip_reader.open_clips(folder, split)
  for row, clip_id in enumerate(reader.clip_ids()):
    frames = records.encoded_frames(reader.read([row])[0])
    step = np.linspace(0, len(frames) - 1, min(_FRAMES, len(frames)))
    found = [frame_hash(frames[round(i)]) for i in step]
    kept = [value for value in found if value is not None]
    yield clip_id, np.array(kept, np.uint64).reshape(-1, 2)


def frame_hash(jpeg: bytes) -> UInt64[np.ndarray, '2'] | None:
  """Returns which neighbours are brighter, right and below, on a grid of 9 x 9.

  Args:
    jpeg: An encoded frame.

  Returns:
    128 bits; None for a frame with nothing in it.
  """
  from PIL import Image

  side = _SIDE + 1
  with Image.open(io.BytesIO(jpeg), formats=('JPEG',)) as image:
    image.draft('L', (4 * side, 4 * side))  # decodes at a fraction of the cost
    grey = image.convert('L').resize((side, side), Image.Resampling.BOX)
  values = np.asarray(grey, np.int16)
  if values.std() < _FLAT:
    return None
  right = values[:-1, 1:] > values[:-1, :-1]
  below = values[1:, :-1] > values[:-1, :-1]
  return np.packbits([right, below]).view(np.uint64)


def _write(folder: pathlib.Path, overlaps: Sequence[Overlap]) -> None:
  files.write_json_lines(
    folder / 'overlap.jsonl',
    map(dataclasses.asdict, overlaps),
    ensure_ascii=False,
  )
