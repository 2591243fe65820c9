"""Draws four clips and makes a vocabulary of their captions; see README.md."""

import json
import pathlib

import av
import numpy as np
import sentencepiece

SIZE, FRAMES, FPS = 32, 16, 4
# Clip id: caption, colour, where the square starts, and how it moves.
CLIPS = {
  'right': ('a red square goes to the right', (220, 40, 40), (2, 12), (1, 0)),
  'left': ('a blue square goes to the left', (40, 60, 220), (22, 12), (-1, 0)),
  'down': ('a green square falls', (40, 200, 60), (12, 2), (0, 1)),
  'up': ('a white square rises', (240, 240, 240), (12, 22), (0, -1)),
}


def write_clip(path, colour, start, speed):
  with av.open(str(path), 'w') as out:
    stream = out.add_stream('libx264', rate=FPS)
    stream.width = stream.height = SIZE
    stream.pix_fmt = 'yuv420p'
    stream.codec_context.thread_count = 1
    for number in range(FRAMES):
      frame = np.full((SIZE, SIZE, 3), 90, np.uint8)
      x, y = (s + v * number for s, v in zip(start, speed, strict=True))
      frame[y : y + 8, x : x + 8] = colour
      out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, 'rgb24')))
    out.mux(stream.encode())


def main():
  videos = pathlib.Path('data/videos')
  videos.mkdir(parents=True)
  with open('data/captions.jsonl', 'w') as file:
    for name, (caption, *drawn) in CLIPS.items():
      write_clip(videos / f'{name}.mp4', *drawn)
      row = {'clip_id': name, 'path': f'{name}.mp4', 'caption': caption}
      file.write(json.dumps({**row, 'label': caption.split()[1]}) + '\n')
  # T5's special ids. `identity` spares 240 kB of rules for Unicode.
  sentencepiece.SentencePieceTrainer.Train(
    sentence_iterator=(caption for caption, *_ in CLIPS.values()),
    model_prefix='data/vocabulary',
    model_type='bpe',
    vocab_size=64,
    hard_vocab_limit=False,
    pad_id=0,
    eos_id=1,
    unk_id=2,
    bos_id=-1,
    pad_piece='<pad>',
    eos_piece='</s>',
    unk_piece='<unk>',
    normalization_rule_name='identity',
    num_threads=1,
    minloglevel=2,
  )
  pathlib.Path('data/vocabulary.vocab').unlink()


if __name__ == '__main__':
  main()
