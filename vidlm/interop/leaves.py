"""Arrays that are read when they are needed, one at a time.

The weights of a large model never lie in memory twice: shapes come from file
headers, and each value is read when it is placed on devices or written out.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from vidlm.nn import scan_layout


@dataclasses.dataclass(frozen=True, eq=False)
class Leaf:
  """An array to be; `np.asarray` reads it.

  Attributes:
    shape: Its shape.
    dtype: Its type.
    load: Reads it; must give `shape` and `dtype`.
  """

  shape: tuple[int, ...]
  dtype: np.dtype
  load: Callable[[], np.ndarray]

  @property
  def ndim(self) -> int:
    """Number of axes."""
    return len(self.shape)

  def __array__(
    self, dtype: Any = None, copy: bool | None = None
  ) -> np.ndarray:
    del copy  # a fresh array each time
    value = self.load()
    return value if dtype is None else value.astype(dtype, copy=False)

  def __getitem__(self, index: Any) -> 'Leaf':
    """Returns a part of the array, which is read whole; the part is kept."""
    part = self.then(lambda x: x[index])
    # A view would hold the whole: all layers of a stack, once for each layer.
    return Leaf(part.shape, part.dtype, lambda: np.array(part.load()))

  def then(self, function: Callable[[np.ndarray], np.ndarray]) -> 'Leaf':
    """Applies a function to the array, itself read late.

    Args:
      function: Must only move values about (reshape, transpose, index): its
        shape is found on an array without memory.
    """
    outcome = function(hollow(self.shape, self.dtype))
    return Leaf(
      tuple(outcome.shape), outcome.dtype, lambda: function(self.load())
    )


def hollow(shape: Sequence[int], dtype: Any) -> np.ndarray:
  """Returns an array of zeros that takes no memory, whatever its shape."""
  return np.broadcast_to(np.zeros((), dtype), tuple(shape))


def from_array(array: Any) -> Leaf:
  """Returns a leaf of an array in memory (numpy or jax)."""
  return Leaf(
    tuple(array.shape), np.dtype(array.dtype), lambda: np.asarray(array)
  )


def checked(
  shape: Sequence[int],
  dtype: Any,
  load: Callable[[], np.ndarray],
  where: str,
) -> Leaf:
  """Returns a leaf whose values are looked at when read.

  Formats without checksums can't tell a flipped bit in a weight from another
  weight; what becomes NaN or infinite by it is at least reported.

  Args:
    shape: Shape of the array.
    dtype: Type of the array.
    load: Reads it.
    where: File and name, for the error.

  Returns:
    The leaf; reading it raises ValueError if a value isn't finite.
  """

  def look() -> np.ndarray:
    value = load()
    if value.dtype.kind in 'fV' and not np.isfinite(value).all():
      count = int(value.size - np.count_nonzero(np.isfinite(value)))
      raise ValueError(
        f'{where}: {count} of {value.size} values are not finite; the file is '
        'damaged, fetch it again'
      )
    return value

  return Leaf(tuple(shape), np.dtype(dtype), look)


def join(members: Iterable[Leaf], axis: int | None = None) -> Leaf:
  """Joins leaves along an axis, or stacks them on a new leading one if None.

  Raises:
    ValueError: If leaves to be stacked differ in shape.
  """
  members = list(members)
  first = members[0]
  if axis is not None:
    total = sum(member.shape[axis] for member in members)
    shape = (*first.shape[:axis], total, *first.shape[axis + 1 :])
    return Leaf(
      shape,
      first.dtype,
      lambda: np.concatenate([member.load() for member in members], axis),
    )
  shapes = sorted({member.shape for member in members})
  if len(shapes) > 1:
    raise ValueError(f'layers differ in shape: {shapes}; the file is damaged')

  def load() -> np.ndarray:
    # np.stack would hold the parts and the whole.
    value = np.empty((len(members), *first.shape), first.dtype)
    for i, member in enumerate(members):
      value[i] = member.load()
    return value

  return Leaf((len(members), *first.shape), first.dtype, load)


def like_layers(
  flat: Mapping[str, Leaf], wanted: Iterable[str]
) -> dict[str, Leaf]:
  """Stacks or splits layers as the wanted names have them.

  Args:
    flat: {name: leaf}, layers numbered, stacked, or mixed.
    wanted: Names of the model.

  Returns:
    {name: leaf}, with layers stacked where the model's are.

  Raises:
    ValueError: If a layer is missing.
  """
  wanted = set(wanted)
  stacked = scan_layout.stack(flat, join)
  out = {}
  for name, leaf in stacked.items():
    numbered = name not in wanted and scan_layout.is_stacked(name)
    if numbered and wanted.intersection(scan_layout.unstack({name: leaf})):
      out.update(scan_layout.unstack({name: leaf}))
    else:
      out[name] = leaf
  return out
