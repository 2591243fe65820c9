"""Memory of `vidlm prepare` over thousands of clips, at each finished shard.

  python benchmarks/prepare_memory.py \\
    --output=benchmarks/results/prepare_memory.json

Prepares 10,000 clips of small videos, one in twenty of them damaged or
missing, in shards of 1,000, and looks at the resident memory and the open
files of the command and of its decoding workers ten times a second. A row of
the result is a shard: the memory when it was finished, and the most a worker
had while it was made. Linux only: it reads /proc.
"""

import argparse
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import av
import numpy as np

from vidlm.core import files

_SECONDS = 0.1  # between two looks
_VIDEOS = 40


def write_videos(folder: pathlib.Path) -> list[str]:
  """Writes small videos of 10 s, one of them cut short, and names them."""
  rng = np.random.default_rng(0)
  names = []
  for number in range(_VIDEOS):
    name = f'video {number}.mp4'
    with av.open(str(folder / name), 'w') as out:
      stream = out.add_stream('libx264', rate=8)
      stream.width, stream.height, stream.pix_fmt = 64, 48, 'yuv420p'
      for _ in range(80):
        pixels = rng.integers(0, 256, (48, 64, 3), np.uint8)
        frame = av.VideoFrame.from_ndarray(pixels, 'rgb24')
        out.mux(stream.encode(frame))
      out.mux(stream.encode())
    names.append(name)
  damaged = folder / names[0]
  damaged.write_bytes(damaged.read_bytes()[:2000])
  return [*names, 'missing.mp4']


def write_annotations(path: pathlib.Path, names: list[str], clips: int) -> None:
  """Writes a row a clip: 2 s of one of the videos, and a caption."""
  rng = np.random.default_rng(1)
  with path.open('w', encoding='utf-8') as file:
    for number in range(clips):
      start = round(float(rng.uniform(0, 8)), 2)
      row = {
        'clip_id': f'clip {number}',
        'path': names[number % len(names)],
        'start': start,
        'end': start + 2,
        'caption': f'a caption of clip {number}',
      }
      file.write(json.dumps(row) + '\n')


def _status(pid: int) -> dict[str, str]:
  try:
    text = pathlib.Path(f'/proc/{pid}/status').read_text()
  except OSError:
    return {}
  return dict(line.split(':', 1) for line in text.splitlines() if ':' in line)


def memory(pid: int) -> int:
  """Resident bytes of a process; 0 if it is gone."""
  return 1024 * int(_status(pid).get('VmRSS', '0 kB').split()[0])


def children(pid: int) -> list[int]:
  """The processes a process has started."""
  found = []
  for entry in pathlib.Path('/proc').iterdir():
    if entry.name.isdigit():
      parent = _status(int(entry.name)).get('PPid', '0')
      if int(parent) == pid:
        found.append(int(entry.name))
  return found


def open_files(pid: int) -> int:
  """Open descriptors of a process; 0 if it is gone."""
  try:
    return len(os.listdir(f'/proc/{pid}/fd'))
  except OSError:
    return 0


def watch(
  process: subprocess.Popen, staging: pathlib.Path, clips_per_shard: int
) -> tuple[list[dict[str, int]], int]:
  """Looks at a running preparation until it ends.

  Args:
    process: The command.
    staging: Where its finished shards appear.
    clips_per_shard: Of them.

  Returns:
    A row a finished shard, with what was seen last before it was there; and
    the most the command had at all: at the end it writes the set's index.
  """
  rows: list[dict[str, int]] = []
  seen: dict[str, int] = {}
  most = most_of_workers = 0
  while process.poll() is None:
    # Looked for first: what is seen after the last shard is the end's.
    done = len(list(staging.glob('*/*.json')))
    for number in range(len(rows), done):
      rows.append({'clips': clips_per_shard * (number + 1), **seen})
      most_of_workers = 0
    command = memory(process.pid)
    of_workers = [memory(pid) for pid in children(process.pid)]
    most = max(most, command)
    most_of_workers = max([most_of_workers, *of_workers])
    seen = {
      'command_bytes': command,
      'command_open_files': open_files(process.pid),
      'workers': len(of_workers),
      'largest_worker_bytes': most_of_workers,
    }
    time.sleep(_SECONDS)
  return rows, most


def growth(rows: Sequence[dict[str, int]], key: str) -> float:
  """Of the mean of the last third over that of the first, shard one aside.

  The first shard pays for what is loaded once.
  """
  settled = [row[key] for row in rows[1:]]
  third = max(1, len(settled) // 3)
  first = sum(settled[:third]) / third
  return sum(settled[-third:]) / third / first - 1


def main(argv: Sequence[str] | None = None) -> None:
  """Prepares, watches, and writes down what was seen.

  Raises:
    SystemExit: If the preparation failed.
  """
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--output', type=pathlib.Path, required=True)
  parser.add_argument('--clips', type=int, default=10_000)
  parser.add_argument('--shards', type=int, default=10)
  parser.add_argument('--workers', type=int, default=2)
  args = parser.parse_args(argv)
  if not pathlib.Path('/proc/self/status').exists():
    parser.error('reads the memory of processes from /proc: Linux alone has it')
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    videos = folder / 'videos'
    videos.mkdir()
    names = write_videos(videos)
    write_annotations(folder / 'clips.jsonl', names, args.clips)
    flags = [
      f'--videos={videos}',
      f'--annotations={folder / "clips.jsonl"}',
      f'--output={folder / "out"}',
      f'--num_shards={args.shards}',
      f'--workers={args.workers}',
      '--size=32',
    ]
    process = subprocess.Popen(
      [sys.executable, '-m', 'vidlm', 'prepare', 'folder', *flags],
      stdout=subprocess.DEVNULL,
      stderr=subprocess.DEVNULL,
    )
    staging = folder / 'out' / '.staging'
    rows, most = watch(process, staging, args.clips // args.shards)
    if process.returncode:
      sys.exit(f'vidlm prepare ended with {process.returncode}')
    summary = json.loads((folder / 'out' / 'summary.json').read_text())
  result: dict[str, Any] = {
    'command': ' '.join(['python', *sys.argv]),
    'machine': {
      'cpu_count': os.cpu_count(),
      'python': platform.python_version(),
      'av': av.__version__,
    },
    'clips': summary['total'],
    'ok': summary['ok'],
    'failed': summary['failed'],
    'growth_of_command': growth(rows, 'command_bytes'),
    'growth_of_largest_worker': growth(rows, 'largest_worker_bytes'),
    'most_of_command_bytes': most,
    'rows': rows,
  }
  files.make_folder(args.output.parent)
  files.write_json(args.output, result)
  for row in rows:
    print(
      f'{row["clips"]:6} clips: command {row["command_bytes"] / 2**20:.0f} '
      f'MiB, {row["command_open_files"]} open files; largest of '
      f'{row["workers"]} workers {row["largest_worker_bytes"] / 2**20:.0f} MiB'
    )
  print(
    f'growth: command {100 * result["growth_of_command"]:+.1f} %, workers '
    f'{100 * result["growth_of_largest_worker"]:+.1f} %; the command had '
    f'{most / 2**20:.0f} MiB at most'
  )


if __name__ == '__main__':
  main()
