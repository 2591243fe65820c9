"""Flags of every command that decodes videos: what a clip may cost."""

import argparse
from typing import Any

from vidlm.core import command_line, launch

# A flag without its 'decode_' -> the field of `sampling.Limits`, and its unit.
_LIMITS = {
  'memory': ('memory', 1 << 20),
  'seconds': ('timeout', 1),
  'cpu_seconds': ('cpu_seconds', 1),
  'frames': ('max_decoded_frames', 1),
  'pixels': ('max_pixels', 1),
}


def add(parser: argparse.ArgumentParser) -> None:
  """Adds the flags."""
  group = parser.add_argument_group('decoding')
  group.add_argument(
    '--damaged',
    choices=['flag', 'refuse'],
    help='a clip in which the file breaks off: flag (the default) takes what '
    'is there, up to the end that was read, and says so; refuse leaves it out',
  )
  group.add_argument(
    '--decode_memory',
    type=int,
    metavar='MB',
    help='most memory of a decoding process (1024); 4096 x 4096 takes 630',
  )
  group.add_argument(
    '--decode_seconds',
    type=float,
    metavar='N',
    help='most time for a clip (3600)',
  )
  group.add_argument(
    '--decode_cpu_seconds',
    type=int,
    metavar='N',
    help='most CPU time for a clip (1800)',
  )
  group.add_argument(
    '--decode_frames',
    type=int,
    metavar='N',
    help='most frames to decode for a clip (1,000,000)',
  )
  group.add_argument(
    '--decode_pixels',
    type=int,
    metavar='N',
    help='most pixels of a frame (4096 x 4096)',
  )


def sampling(args: argparse.Namespace) -> dict[str, Any]:
  """Returns the fields of `Sampling` that the flags give.

  Raises:
    ValueError: For a limit that lets nothing through.
  """
  from vidlm.data.video import sampling as sampling_lib

  fields = command_line.given(args, 'damaged')
  limits = {}
  for name, (field, unit) in _LIMITS.items():
    value = getattr(args, f'decode_{name}')
    if value is not None:
      if not value > 0:
        raise ValueError(f'--decode_{name}={value}: need more than 0')
      limits[field] = value * unit
  if limits:
    fields['limits'] = launch.bound(sampling_lib.Limits)(**limits)
  return fields
