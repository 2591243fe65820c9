"""A captioning run with a known model and known clips, as its own process.

Counts the moments at which something reaches the disk, or is about to, and
kills itself with SIGKILL at the one it was told.
"""

import argparse
import contextlib
import hashlib
import json
import os
import pathlib
import signal
import time

import numpy as np

from vidlm.captions import captioner, identity, inputs


class FakeCaptioner:
  """Says what it sees: a hash of frames and id, K times."""

  num_frames = 2
  image_size = 4
  name = 'fake'

  def __init__(self, prompt='Describe:', num_samples=3, batch_size=4, **slow):
    self.prompt = prompt
    self.num_samples = num_samples
    self.batch_size = batch_size
    self.seconds = slow.get('seconds', 0.0)
    self.batches = []

  def identity(self):
    return {'prompt': self.prompt, 'num_samples': self.num_samples}

  def submit(self, frames, frame_mask, ids):
    assert frames.shape == (self.batch_size, 2, 4, 4, 3)
    assert frame_mask.shape == (self.batch_size, 2)
    self.batches.append(ids.tolist())
    rows = [self._describe(f, i) for f, i in zip(frames, ids, strict=True)]

    def wait():
      time.sleep(self.seconds)
      return rows

    return wait

  def _describe(self, frames, number):
    seen = hashlib.sha256(self.prompt.encode() + frames.tobytes()).hexdigest()
    rng = np.random.default_rng(int(number))
    logprobs = (-rng.random(self.num_samples, np.float32)).tolist()
    if not frames.any():
      logprobs[0] = float('nan')
    texts = [f'{seen[:12]} {number} {k}' for k in range(self.num_samples)]
    return captioner.ClipCaptions(texts, logprobs, [5] * self.num_samples)


class FolderOfLines:
  """A shard a text file, a clip a line; lines with 'bad' don't decode."""

  def __init__(self, folder):
    self.files = sorted(pathlib.Path(folder).glob('*.txt'))
    self.num_shards = len(self.files)
    self.config = {'kind': 'lines'}
    self.closed = False

  def _lines(self, shard):
    return self.files[shard].read_text().splitlines()

  def digest(self, shard):
    return identity.file_digest(self.files[shard])

  def rows(self, shard):
    return len(self._lines(shard))

  def open(self, shards):
    for shard in shards:
      yield shard, map(self._clip, self._lines(shard))

  def _clip(self, line):
    if 'bad' in line:
      return inputs.InputClip(line, 'v', error='corrupt: it is bad')
    data = hashlib.sha256(line.encode()).digest()[:24] * 4
    frames = np.frombuffer(data, np.uint8).reshape(2, 4, 4, 3)
    if 'black' in line:
      frames = np.zeros_like(frames)
    mask = np.ones(2, bool)
    return inputs.InputClip(line, 'v', 0.0, 1.5, frames=frames, frame_mask=mask)

  def close(self):
    self.closed = True


class Moments:
  """Counts the moments; at one of them the process dies."""

  def __init__(self, kill_at):
    self.kill_at = kill_at
    self.labels = []

  def tick(self, label):
    self.labels.append(label)
    if len(self.labels) - 1 == self.kill_at:
      os.kill(os.getpid(), signal.SIGKILL)

  def around(self, module, name):
    original = getattr(module, name)

    def hooked(*args, **kwargs):
      self.tick(f'before {name} {args[0]}')
      result = original(*args, **kwargs)
      self.tick(f'after {name} {args[0]}')
      return result

    setattr(module, name, hooked)

  def in_halves(self, module):
    original = module.writer

    @contextlib.contextmanager
    def writer(path, **how):
      with original(path, **how) as file:
        yield _Halves(file, lambda: self.tick(f'half written {path}'))

    module.writer = writer


class _Halves:
  def __init__(self, file, between):
    self.file, self.between = file, between

  def write(self, data):
    self.file.write(data[: len(data) // 2])
    self.file.flush()
    self.between()
    self.file.write(data[len(data) // 2 :])


def main():
  parser = argparse.ArgumentParser()
  parser.add_argument('clips')
  parser.add_argument('output')
  parser.add_argument('--kill_at', type=int)
  parser.add_argument('--index', type=int, default=0)
  parser.add_argument('--count', type=int, default=1)
  parser.add_argument('--seconds', type=float, default=0.0)
  parser.add_argument('--wait', type=float, default=20.0)
  args = parser.parse_args()

  from vidlm.captions import caption
  from vidlm.core import files

  moments = Moments(args.kill_at)
  moments.in_halves(files)
  moments.around(os, 'fsync')
  moments.around(os, 'replace')
  moments.around(os, 'unlink')
  caption.caption_source(
    FakeCaptioner(seconds=args.seconds),
    FolderOfLines(args.clips),
    args.output,
    run=caption.Run(
      process_index=args.index,
      process_count=args.count,
      wait_seconds=args.wait,
    ),
  )
  print(json.dumps(moments.labels))


if __name__ == '__main__':
  main()
