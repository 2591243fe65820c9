"""Tables between our parameter names and others', usable in both directions.

A row says which of their tensors one of our leaves is, and how its axes move,
in einops' words: 'patch embedding: c three h w -> h w three c'. Read from left
to right it imports, from right to left it exports, so that what is written is
what would be read.
"""

import dataclasses
import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import einops
import numpy as np

from vidlm.interop import leaves as leaves_lib
from vidlm.interop.leaves import Leaf

# (our name, their name or several, axes) and, of fused tensors, (part, parts)
# or None.
Row = tuple[Any, ...]


@dataclasses.dataclass(frozen=True)
class Entry:
  """One of our leaves and where it lies in theirs.

  Attributes:
    ours: Slash-joined, layers numbered.
    theirs: Their name; several are stacked in front of their axes.
    axes: 'their axes -> our axes' for `einops.rearrange`.
    sizes: Known axes; a tensor of another size is an error.
    part: (i, n): ours is the i-th of n equal parts along their first axis, as
      in fused query-key-value matrices; None for all of it.
  """

  ours: str
  theirs: str | tuple[str, ...]
  axes: str
  sizes: tuple[tuple[str, int], ...] = ()
  part: tuple[int, int] | None = None

  @property
  def names(self) -> tuple[str, ...]:
    """Their names."""
    return (self.theirs,) if isinstance(self.theirs, str) else self.theirs


@dataclasses.dataclass(frozen=True)
class Table:
  """All rows of one model.

  Attributes:
    entries: The rows.
    ignored: Patterns of their names that hold nothing of ours (copies of tied
      tables, index buffers).
    dropped: Patterns of their names that are weights we have no place for,
      such as the text tower beside a vision tower; they are listed.
  """

  entries: tuple[Entry, ...]
  ignored: tuple[str, ...] = ()
  dropped: tuple[str, ...] = ()

  def to_ours(
    self, theirs: Mapping[str, Leaf], where: str
  ) -> tuple[dict[str, Leaf], list[str]]:
    """Renames and rearranges, without reading a value.

    Args:
      theirs: {their name: leaf}.
      where: The source, for errors.

    Returns:
      {our name: leaf}, and their names that were left behind.

    Raises:
      ValueError: If tensors are missing, unknown, or of another shape.
    """
    self._check_names(theirs.keys(), where)
    ours = {
      entry.ours: _import(entry, [theirs[n] for n in entry.names], where)
      for entry in self.entries
    }
    left = [
      name
      for name in theirs
      if any(re.fullmatch(p, name) for p in self.dropped)
    ]
    return ours, left

  def _check_names(self, names: Iterable[str], where: str) -> None:
    names = set(names)
    known = {name for entry in self.entries for name in entry.names}
    missing = sorted(known - names)
    if missing:
      raise ValueError(
        f'{where}: {len(missing)} of {len(known)} tensors are missing: '
        f'{_some(missing)}; config.json and weights belong to different '
        'models, or the file is damaged'
      )
    allowed = (*self.ignored, *self.dropped)
    extra = sorted(
      name
      for name in names - known
      if not any(re.fullmatch(p, name) for p in allowed)
    )
    if extra:
      raise ValueError(
        f'{where}: {len(extra)} tensors have no place in this architecture: '
        f'{_some(extra)}; config.json and weights belong to different models'
      )

  def to_theirs(self, ours: Mapping[str, Leaf]) -> dict[str, Leaf]:
    """Returns the inverse of `to_ours`.

    Args:
      ours: {our name: leaf}, layers numbered; must hold every row's.

    Returns:
      {their name: leaf}.

    Raises:
      ValueError: If one of our leaves is missing or of another shape.
    """
    missing = sorted({e.ours for e in self.entries} - ours.keys())
    if missing:
      raise ValueError(f'the model lacks {_some(missing)}; nothing is written')
    parts: dict[str, dict[int, Leaf]] = {}
    for entry in self.entries:
      index = entry.part[0] if entry.part else 0
      leaf = _export(entry, ours[entry.ours])
      if isinstance(entry.theirs, str):
        parts.setdefault(entry.theirs, {})[index] = leaf
      else:
        parts |= {name: {0: leaf[i]} for i, name in enumerate(entry.theirs)}
    return {
      name: members[0]
      if len(members) == 1
      else leaves_lib.join([members[i] for i in range(len(members))], axis=0)
      for name, members in parts.items()
    }


def rows(
  table: Sequence[Row],
  ours: str = '',
  theirs: str = '',
  **sizes: int,
) -> list[Entry]:
  """Returns entries of a table, with prefixes and the sizes of its axes.

  Args:
    table: (our name, their name, axes) and, of fused tensors, (part, parts).
    ours: Put before our names.
    theirs: Put before their names, each of several.
    **sizes: Axes by name; those a row doesn't mention are left out.
  """
  out = []
  for name, other, axes, *part in table:
    used = set(re.findall(r'[a-z]\w*', axes))
    known = tuple((k, v) for k, v in sorted(sizes.items()) if k in used)
    names = (
      theirs + other
      if isinstance(other, str)
      else tuple(theirs + one for one in other)
    )
    out.append(
      Entry(ours + name, names, axes, known, part[0] if part else None)
    )
  return out


def _import(entry: Entry, members: list[Leaf], where: str) -> Leaf:
  leaf = members[0]
  if not isinstance(entry.theirs, str):
    if len({member.shape for member in members}) > 1:
      raise ValueError(
        f'{where}: {", ".join(entry.theirs)} have different shapes'
      )
    leaf = leaves_lib.join(members)
  if entry.part:
    index, count = entry.part
    if not leaf.shape or leaf.shape[0] % count:
      raise ValueError(
        f'{where}: {entry.theirs} has shape {list(leaf.shape)}, which is not '
        f'{count} equal parts'
      )
    size = leaf.shape[0] // count
    leaf = leaf[index * size : (index + 1) * size]
  try:
    return leaf.then(
      functools.partial(_rearrange, axes=entry.axes, sizes=entry.sizes)
    )
  except einops.EinopsError as error:
    raise ValueError(
      f'{where}: {" + ".join(entry.names)} has shape {list(leaf.shape)}, '
      f'config.json means {_wanted(entry)}'
    ) from error


def _export(entry: Entry, leaf: Leaf) -> Leaf:
  left, _, right = entry.axes.partition('->')
  axes = f'{right.strip()} -> {left.strip()}'
  try:
    return leaf.then(
      functools.partial(_rearrange, axes=axes, sizes=entry.sizes)
    )
  except einops.EinopsError as error:
    raise ValueError(
      f'{entry.ours} has shape {list(leaf.shape)}, which does not fit {axes} '
      f'with {dict(entry.sizes)}'
    ) from error


def _rearrange(
  x: np.ndarray, axes: str, sizes: tuple[tuple[str, int], ...]
) -> np.ndarray:
  return einops.rearrange(x, axes, **dict(sizes))


def _wanted(entry: Entry) -> str:
  left = entry.axes.partition('->')[0].strip()
  sizes: dict[str, Any] = dict(entry.sizes)
  return f'[{left}] with ' + ', '.join(f'{k}={v}' for k, v in sizes.items())


def _some(names: Sequence[str], count: int = 3) -> str:
  more = len(names) - count
  return ', '.join(names[:count]) + (f' and {more} more' if more > 0 else '')
