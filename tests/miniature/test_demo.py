"""The demo end to end, with a fiftieth of its data and steps."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from vidlm.miniature.world import render

ROOT = pathlib.Path(__file__).resolve().parents[2]
STAGES = ('image_vlm', 'visual', 'visual+language')
SOURCES = ('alt_text', *STAGES, 'single_frame')

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def start(output, videos):
  return subprocess.Popen(
    [
      sys.executable,
      '-m',
      'vidlm.miniature',
      'demo',
      f'--output={output}',
      f'--videos={videos}',
      '--scale=0.02',
    ],
    cwd=ROOT,
    env={**os.environ, 'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(ROOT)},
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


@pytest.fixture(scope='module')
def demo(tmp_path_factory):
  """A demo that was killed while F_V trained, then run to its end, twice."""
  root = tmp_path_factory.mktemp('demo')
  videos = root / 'videos'
  videos.mkdir()
  frames = np.random.default_rng(0).integers(0, 255, (16, 64, 64, 3))
  render.write_mp4(str(videos / 'noise.mp4'), frames.astype(np.uint8))
  output = root / 'run'
  first = start(output, videos)
  while first.poll() is None and not (output / 'visual/config.gin').exists():
    time.sleep(0.2)
  assert first.poll() is None, first.stdout.read()[-3000:]
  first.send_signal(signal.SIGKILL)
  first.communicate()
  kept = (output / 'image_vlm').stat().st_mtime_ns
  texts = []
  for _ in range(2):
    again = start(output, videos)
    text, _ = again.communicate()
    assert again.returncode == 0, text[-3000:]
    texts.append(text)
  assert (output / 'image_vlm').stat().st_mtime_ns == kept
  return output, texts


def test_report_has_every_figure(demo):
  output, _ = demo
  report = json.loads((output / 'report.json').read_text())
  for stage in STAGES:
    assert {'cider', 'mean_words', 'n'} <= report['captioning'][stage].keys()
    assert 0 <= report['qa'][stage]['accuracy'] <= 1
  assert 0 < report['qa']['majority']['accuracy'] < 1
  for source in (*SOURCES, 'chance'):
    row = report['retrieval'][source]
    assert 0 <= row['r1'] <= row['r5'] <= row['r10'] <= 1
    assert row['n'] == report['retrieval']['chance']['n']
    row = report['classification'][source]
    assert 0 <= row['top1'] <= row['top5'] <= 1
  curves = {}
  for row in report['scaling']:
    curves.setdefault(row['captions'], []).append(row['clips'])
  assert set(curves) == {'alt_text', 'image_vlm', 'visual+language'}
  assert all(len(set(clips)) == 4 for clips in curves.values())
  assert {'seed', 'seconds', 'commit'} <= report['run'].keys()


def test_page_shows_own_videos(demo):
  output, _ = demo
  page = (output / 'report.html').read_text()
  assert 'noise' in page
  assert 'has seen nothing but drawn bodies' in page
  assert page.count('data:image/jpeg;base64') > 12


def test_stages_left_their_checkpoints(demo):
  output, _ = demo
  for name in ('image_vlm', 'visual', 'language', 'dualenc_alt_text'):
    assert list((output / name).glob('checkpoint_*/state')), name


def test_a_finished_demo_does_nothing_again(demo):
  _, (first, second) = demo
  assert 'dualenc_alt_text: step' in first
  assert ': step' not in second
