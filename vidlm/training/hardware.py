"""Peaks of the accelerators that plans and benchmarks are measured against."""

import dataclasses
import math
import re

from vidlm.training import gpu_targets

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
  """One accelerator.

  Attributes:
    name: As plans print it.
    peak_flops: Dense bfloat16 FLOP/s, as its maker states them.
    memory: Bytes.
    source: Where both figures come from.
  """

  name: str
  peak_flops: float
  memory: int
  source: str


_CLOUD_TPU = 'Google Cloud TPU documentation, page of this version'
_NVIDIA = 'NVIDIA data sheet, dense (without sparsity)'

CHIPS = {
  chip.name: chip
  for chip in (
    Chip('v5e', 197e12, 16 * 10**9, _CLOUD_TPU),
    Chip('v5p', 459e12, 95 * 10**9, _CLOUD_TPU),
    Chip('v6e', 918e12, 32 * 10**9, _CLOUD_TPU),
    Chip('a100', 312e12, 80 * 10**9, _NVIDIA),
    Chip('h100', 989e12, 80 * 10**9, _NVIDIA),
    Chip('h200', 989e12, 141 * 10**9, _NVIDIA),
  )
}
# Substrings of `jax.Device.device_kind`, the longer names first.
_KINDS = (
  ('v5 lite', 'v5e'),
  ('v6 lite', 'v6e'),
  ('v5', 'v5p'),
  ('a100', 'a100'),
  ('h100', 'h100'),
  ('h200', 'h200'),
)


def chip_of(device_kind: str) -> Chip | None:
  """Returns what is known about a `jax.Device.device_kind`, or None."""
  kind = device_kind.lower()
  for part, name in _KINDS:
    if part in kind:
      return CHIPS[name]
  return None


@dataclasses.dataclass(frozen=True)
class Topology:
  """A slice of TPU chips, `v5e:8x16`, or the GPUs of a machine, `h200:8`."""

  chip: Chip
  shape: tuple[int, ...]

  @property
  def chips(self) -> int:
    """Number of chips."""
    return math.prod(self.shape)

  @property
  def is_gpu(self) -> bool:
    """Whether these are GPUs."""
    return self.chip.name in gpu_targets.NAMES

  @property
  def name(self) -> str:
    """As it is written, and as libtpu wants it."""
    return f'{self.chip.name}:{"x".join(map(str, self.shape))}'

  @property
  def accelerator_type(self) -> str:
    """Cloud TPU's name of a slice: v5e and v6e count chips, v5p cores."""
    if self.chip.name == 'v5e':
      return f'v5litepod-{self.chips}'
    cores = 2 if self.chip.name == 'v5p' else 1
    return f'{self.chip.name}-{self.chips * cores}'


def parse_topology(text: str) -> Topology:
  """Reads `v5e:8x16` (two numbers), `v5p:4x4x8` (three) or `h200:8` (one).

  Raises:
    ValueError: If the version is unknown or the shape doesn't fit it.
  """
  gpus = '|'.join(gpu_targets.NAMES)
  match = re.fullmatch(rf'(v5e|v5p|v6e|{gpus}):(\d+(?:x\d+)*)', text)
  kind = match[1] if match else ''
  dimensions = 1 if kind in gpu_targets.NAMES else 3 if kind == 'v5p' else 2
  shape = tuple(int(n) for n in match[2].split('x')) if match else ()
  if match is None or len(shape) != dimensions or 0 in shape:
    raise ValueError(
      f'--topology={text}: write v5e:8x16, v6e:16x16, v5p:4x4x8 or h200:8'
    )
  return Topology(CHIPS[kind], shape)
