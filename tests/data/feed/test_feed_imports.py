"""Training needs no TensorFlow, and its threads import nothing."""

import pathlib
import subprocess
import sys

import pytest

FOLDER = pathlib.Path(__file__).parents[2] / 'testdata' / 'feed'
PREPARE = """
import io, sys
import numpy as np
import PIL.Image
from vidlm.data.feed import batches, frame_cache, tasks, vocabulary
from vidlm.data.store import clip_schema
import dualenc.data

folder = {folder!r}
path = folder + '/words.{kind}'
known = dict(
  model=lambda: vocabulary.Vocabulary(path, 100),
  json=lambda: vocabulary.TokenizerFile(path, 'paligemma'),
  clip=dualenc.data.ClipVocabulary,
)['{kind}']()
task = tasks.ClipTask('a', known, folder, 'clips')
text = tasks.ClipTask('b', known, folder, kind='text', texts='text.jsonl')
config = batches.DatasetConfig(
  tasks.ClipMixture('m', [(task, 1), (text, 1)]),
  dict(inputs=8, targets=8),
  8,
  frames=tasks.FrameOptions(2, 16, {augment}),
)
feed = batches.make_feed(config, 4)
"""


def run(code: str, **values) -> str:
  code = PREPARE.format(folder=str(FOLDER), **values) + code
  done = subprocess.run(
    [sys.executable, '-c', code],
    capture_output=True,
    text=True,
    env={'PATH': '/usr/bin:/bin', 'PYTHONPATH': ':'.join(sys.path)},
    timeout=300,
  )
  assert done.returncode == 0, done.stderr
  return done.stdout


@pytest.mark.parametrize('kind', ['model', 'json', 'clip'])
@pytest.mark.parametrize('augment', [False, True])
def test_batches_are_made_without_imports(kind, augment) -> None:
  # A thread that imports waits for Python's import lock, and hung on it.
  code = """
before = set(sys.modules)
assert len(list(feed(0))) == 4
print(sorted(set(sys.modules) - before))
heavy = ('tensorflow', 'tensorflow_datasets', 'seqio', 'tensorflow_text')
print([name for name in heavy if name in sys.modules])
"""
  assert run(code, kind=kind, augment=augment) == '[]\n[]\n'


def test_odd_frames_are_read_or_refused_without_imports() -> None:
  code = """
def saved(how, **more):
  out = io.BytesIO()
  images = [PIL.Image.new(mode, (20, 20)) for mode in ('RGB', 'L')]
  images[0].save(out, how, **more)
  return out.getvalue()

exif = PIL.Image.Exif()
exif[0x0112] = 6
odd = [
  saved('JPEG', exif=exif),
  saved('JPEG', progressive=True, icc_profile=b'x' * 90, comment=b'y'),
  saved('MPO', save_all=True, append_images=[PIL.Image.new('RGB', (20, 20))]),
  saved('JPEG')[:-300],
  saved('PNG'),
  saved('GIF'),
  b'',
  b'\\xff\\xd8\\xff',
]
records = [
  clip_schema.serialize(
    clip_schema.ClipRow(str(i), 'v', 0.0, 1.0, (frame,), (0.0,))
  )
  for i, frame in enumerate(odd)
] + [b'no record']
before = set(sys.modules)
options = frame_cache.FrameOptions(1, 16)
read = []
for i, record in enumerate(records):
  try:
    frame_cache.batch_frames([record], np.zeros((1, 2), np.int32), options)
    read.append(i)
  except ValueError:
    pass
print(read, sorted(set(sys.modules) - before))
"""
  assert run(code, kind='model', augment=False) == '[0, 1, 2] []\n'
