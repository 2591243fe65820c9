"""`convert` of both command lines: its flags, and weights in and out."""

import argparse
import os

from vidlm.core import command_line


def add_flags(parser: argparse.ArgumentParser) -> None:
  """Flags of the command."""
  parser.add_argument(
    'source',
    help='a run, hf://owner/name, a Hugging Face folder, .npz, t5x; :img or '
    ':llm behind it takes a part, img=A,llm=B puts two together',
  )
  parser.add_argument('target', help='a new folder, or a new .npz file')
  parser.add_argument(
    '--format',
    choices=['huggingface', 'big_vision', 't5x', 'checkpoint'],
    help='of the target (huggingface; big_vision for .npz)',
  )
  parser.add_argument('--license', help='for the model card')
  parser.add_argument('--shard_bytes', type=int, help='of a safetensors file')


def run(args: argparse.Namespace) -> None:
  """Converts, and says what was done."""
  # Moving weights needs no accelerator, and must not take one from a run.
  os.environ.setdefault('JAX_PLATFORMS', 'cpu')
  from vidlm.interop import convert

  print(
    convert.convert(
      args.source,
      args.target,
      **command_line.given(args, 'format', 'license', 'shard_bytes'),
    )
  )


COMMAND = command_line.Command(
  'convert',
  "weights in and out: Hugging Face's layout, big_vision, t5x",
  add_flags,
  run,
  uses_jax=False,
)
