"""`make real-pixels` from videos to a report, a few steps of each model."""

import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Sequence

import av
import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
CAPTIONS = {
  'a': 'A red square slides to the right.',
  'b': 'A blue square slides to the right.',
  'c': 'A green square slides to the right, slowly.',
}
COLOURS = {'a': (230, 40, 40), 'b': (40, 60, 240), 'c': (40, 200, 60)}


def write_video(path: pathlib.Path, colour: tuple[int, int, int]) -> None:
  with av.open(str(path), 'w') as out:
    stream = out.add_stream('libx264', rate=10)
    stream.width, stream.height, stream.pix_fmt = 160, 96, 'yuv420p'
    for number in range(20):
      frame = np.full((96, 160, 3), 128, np.uint8)
      frame[30:60, 5 * number : 5 * number + 30] = colour
      out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, 'rgb24')))
    out.mux(stream.encode())


def write_rows(folder: pathlib.Path, captions: dict[str, str]) -> None:
  lines = [
    json.dumps({'clip_id': name, 'path': f'{name}.mp4', 'caption': text})
    for name, text in captions.items()
  ]
  (folder / 'captions.jsonl').write_text('\n'.join(lines) + '\n')


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
  """Three videos and their captions."""
  folder = tmp_path / 'my videos'
  folder.mkdir()
  for name, colour in COLOURS.items():
    write_video(folder / f'{name}.mp4', colour)
  write_rows(folder, CAPTIONS)
  return folder


def run(
  folder: pathlib.Path, flags: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
  """Runs the script beside the folder, with its own compilation cache."""
  return subprocess.run(
    [
      sys.executable,
      '-m',
      'vidlm.miniature',
      'real_pixels',
      f'--videos={folder}',
      '--output=out',
      '--scale=0.001',
      *flags,
    ],
    env=os.environ
    | {
      'PYTHONPATH': str(ROOT),
      'XLA_FLAGS': '',
      'JAX_COMPILATION_CACHE_DIR': str(folder.parent / 'cache'),
    },
    cwd=folder.parent,
    text=True,
    capture_output=True,
    timeout=500,
  )


def times(output: pathlib.Path) -> dict[str, int]:
  """When each file below a folder was written, but for the report's."""
  return {
    str(path): path.stat().st_mtime_ns
    for path in output.rglob('*')
    if path.is_file() and path.name not in ('report.json', '.lock')
  }


def test_from_videos_to_a_report_and_not_twice(folder: pathlib.Path) -> None:
  first = run(folder)
  assert first.returncode == 0, first.stderr
  output = folder.parent / 'out'
  report = json.loads((output / 'report.json').read_text())
  assert report['captioning']['n'] == report['retrieval']['n'] == 3
  assert 0 <= report['captioning']['cider'] <= 10
  assert report['captioning']['protocol']['metric'] == 'CIDEr-D, raw 0 to 10'
  assert report['captioning']['protocol']['split'] == 'train'
  for recalls in (report['retrieval'], report['retrieval']['v2t']):
    assert 0 <= recalls['r1'] <= recalls['r5'] == recalls['r10'] == 1
  assert report['clips']['ok'] == report['clips']['distinct_captions'] == 3
  assert set(report['stages']) == {
    'prepare',
    'train vlm',
    'score vlm',
    'train dualenc',
    'score dualenc',
  }
  assert report['seed'] == 0 and report['commit'] and report['machine']
  assert f'CIDEr-D {report["captioning"]["cider"]:.2f} of 10' in first.stdout
  assert (output / 'vlm/config.gin').exists()  # where the demo looks

  before = times(output)
  again = run(folder)
  assert again.returncode == 0, again.stderr
  assert again.stdout.count('done before') == 5
  assert times(output) == before
  assert json.loads((output / 'report.json').read_text()) == report

  seeded = run(folder, ['--seed=1'])
  assert seeded.returncode == 2
  assert 'was made with --seed=0' in seeded.stderr.splitlines()[-1]
  write_rows(folder, dict(list(CAPTIONS.items())[:2]))
  other = run(folder)
  assert other.returncode == 2
  assert 'was prepared otherwise' in other.stderr.splitlines()[-1]


@pytest.mark.parametrize(
  ('captions', 'flags', 'message'),
  [
    (None, [], 'no captions there'),
    (None, ['--captions=none.csv'], 'none.csv: no such annotation file'),
    ({**CAPTIONS, 'b': ''}, [], "no caption, such as 'b'"),
  ],
)
def test_what_is_missing_is_one_line(
  folder: pathlib.Path,
  captions: dict[str, str] | None,
  flags: list[str],
  message: str,
) -> None:
  (folder / 'captions.jsonl').unlink()
  if captions:
    write_rows(folder, captions)
  done = run(folder, flags)
  assert done.returncode == 2
  line = done.stderr.splitlines()[-1]
  assert line.startswith('error: ') and message in line
  assert 'Traceback' not in done.stderr
  assert not (folder.parent / 'out/data').exists()
