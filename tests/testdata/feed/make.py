"""Makes what lies here: a clip set, texts, vocabularies, and their batches.

  python tests/testdata/feed/make.py

`batches.json` was written at commit 49c9bdf, the last whose batches TensorFlow
made; making it anew with later code would prove nothing.
"""

import io
import json
import pathlib

import numpy as np
import PIL.Image
import sentencepiece
import tokenizers

from vidlm.data.store import clip_schema, clip_writer

FOLDER = pathlib.Path(__file__).parent
WORDS = (
  'a red bar moves left',
  'a blue ring grows, then it is gone',
  'the square falls down',
  'Two dogs chase a frisbee across the lawn, barking.',
)


def jpeg(rng: np.random.Generator, height: int, width: int) -> bytes:
  small = rng.integers(0, 256, (4, 5, 3), np.uint8)
  image = PIL.Image.fromarray(small).resize((width, height))
  out = io.BytesIO()
  image.save(out, 'JPEG', quality=80)
  return out.getvalue()


def row(number: int, rng: np.random.Generator) -> clip_schema.ClipRow:
  frames = 1 if number == 0 else 2 + number % 5  # clip 0 is an image
  size = ((24, 24), (24, 36), (40, 24), (16, 16))[number % 4]
  return clip_schema.ClipRow(
    f'clip{number}',
    'drawn',
    0.0,
    frames / 2,
    tuple(jpeg(rng, *size) for _ in range(frames)),
    tuple(f / 2 for f in range(frames)),
    texts=tuple(f'{word} {number}' for word in WORDS[: 1 + number % 4]),
    questions=('what falls', 'what grows') if number % 2 else (),
    answers=('the square', 'a ring') if number % 2 else (),
    label='moving' if number % 3 else '',
  )


def write_vocabularies() -> None:
  texts = [
    f'{word} {number} what say Generate the alt-text: Answer in en:'
    for word in WORDS
    for number in range(13)
  ]
  model = io.BytesIO()
  sentencepiece.SentencePieceTrainer.Train(
    sentence_iterator=iter(texts),
    model_writer=model,
    vocab_size=80,
    hard_vocab_limit=False,
    pad_id=0,
    eos_id=1,
    unk_id=2,
    bos_id=-1,
    normalization_rule_name='identity',  # the usual one is 240 kB of tables
    num_threads=1,
    minloglevel=2,
  )
  (FOLDER / 'words.model').write_bytes(model.getvalue())
  tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token='<unk>'))
  tokenizer.normalizer = tokenizers.normalizers.Replace(' ', '▁')
  trainer = tokenizers.trainers.BpeTrainer(
    vocab_size=120,
    special_tokens=['<pad>', '<eos>', '<bos>', '<unk>'],
    show_progress=False,
  )
  tokenizer.train_from_iterator(texts, trainer)
  tokenizer.add_tokens(['\n'])
  tokenizer.save(str(FOLDER / 'words.json'))


def main() -> None:
  rng = np.random.default_rng(0)
  rows = [row(number, rng) for number in range(13)]
  clip_writer.write_clips(
    rows, str(FOLDER / 'clips'), clips_per_shard=8, overwrite=True
  )
  lines = [{'inputs': f'say {word}', 'targets': word} for word in WORDS]
  (FOLDER / 'text.jsonl').write_text(
    ''.join(json.dumps(line) + '\n' for line in lines)
  )
  write_vocabularies()


if __name__ == '__main__':
  main()
