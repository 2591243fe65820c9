"""What a run trains on, in a line, so that other data is noticed."""

import hashlib
from collections.abc import Sequence

import numpy as np

from vidlm.data.feed import examples

# Of so many examples the digest is; all of a set would take seconds.
_SAMPLE = 10_000


def lines(parts: Sequence[examples.Component]) -> tuple[str, ...]:
  """One line a set: its name, its size, and a digest of what it says.

  Args:
    parts: The components of what is trained on.
  """
  return tuple(
    f'{part.name}: {len(part.table)} examples, {_digest(part.table)}'
    for part in parts
  )


def _digest(table: examples.ExampleTable) -> str:
  size = len(table)
  whole = hashlib.blake2b(digest_size=8)
  for i in np.unique(np.linspace(0, size - 1, min(size, _SAMPLE)).astype(int)):
    for text in (table.ids[i], table.prompts[i], *table.texts[i]):
      data = str(text).encode('utf-8', 'surrogateescape')
      whole.update(len(data).to_bytes(4, 'little') + data)
  return whole.hexdigest()
