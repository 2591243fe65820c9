"""Embedding as a job of all connected processes: each its part, all get all.

Every process has to call these, with the same arguments. What embeds in one
process alone are the methods of `towers.Towers`.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from dualenc import towers as towers_lib
from dualenc import views as views_lib
from vidlm.core import processes
from vidlm.data.store import frame_lookup, records


def embed_clips(
  towers: towers_lib.Towers,
  reader: Any,
  clips_per_device: int | None = None,
  views: views_lib.Views = views_lib.Views(),
) -> Float[np.ndarray, 'n E']:
  """Unit vectors of all clips of a split.

  Args:
    towers: The dual encoder.
    reader: The split's clips.
    clips_per_device: Clips a device takes at once; by default the towers'.
    views: What the tower sees of each.

  Raises:
    ValueError: If there is no clip, or one without a readable frame.
  """

  def read(rows: range) -> Iterator[Sequence[bytes]]:
    for row in rows:
      (record,) = reader.read([row])
      yield records.encoded_frames(record)

  return _in_parts(
    len(reader),
    lambda rows: towers.embed_frames(read(rows), clips_per_device, views),
  )


def embed_texts(
  towers: towers_lib.Towers, texts: Sequence[str]
) -> Float[np.ndarray, 'n E']:
  """Unit vectors of texts.

  Raises:
    ValueError: If there is none.
  """
  return _in_parts(
    len(texts), lambda rows: towers.embed_text(texts[rows.start : rows.stop])
  )


def embed_readable(
  towers: towers_lib.Towers,
  frames: frame_lookup.ClipFrames,
  clips_per_device: int | None = None,
) -> tuple[Float[np.ndarray, 'r E'], Bool[np.ndarray, ' n']]:
  """Unit vectors of the clips of a source that have frames.

  Args:
    towers: The dual encoder.
    frames: The source.
    clips_per_device: See `embed_clips`.

  Returns:
    The vectors, and which of the source's clips they are of.

  Raises:
    ValueError: If no clip has frames.
  """
  ids = frames.clip_ids
  seen: list[bool] = []

  def readable(rows: range) -> Iterator[Sequence[bytes]]:
    for encoded in frames.read(ids[rows.start : rows.stop]):
      seen.append(bool(encoded))
      if encoded:
        yield encoded

  vectors = _in_parts(
    len(ids),
    lambda rows: towers.embed_views(
      towers.show(readable(rows)), clips_per_device
    ),
  )
  if not len(vectors):
    raise ValueError('no clip to embed')
  own = np.array(seen, bool)
  parts = processes.gather(own.tobytes, 'readable')
  return vectors, np.frombuffer(b''.join(parts), bool)


def _in_parts(
  count: int, embed: Callable[[range], np.ndarray]
) -> Float[np.ndarray, 'n E']:
  if not count:
    raise ValueError('nothing to embed')

  def mine() -> bytes:
    rows = processes.part(count)
    buffer = io.BytesIO()
    if rows:  # more processes than items
      np.save(buffer, embed(rows), allow_pickle=False)
    return buffer.getvalue()

  parts = processes.gather(mine, 'embed')
  return np.concatenate(
    [np.load(io.BytesIO(part), allow_pickle=False) for part in parts if part]
  )
