"""Raw examples to features, a batch at a time: frames and ids.

The names of a model's features are those of `seqio.EncDecFeatureConverter`.
Nothing is packed: an example holds some 2,000 visual tokens and a short text.
Randomness is keyed by the example's own seed, never by its position in a
stream, so an example is augmented the same way however the job is split.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int32, UInt8

from vidlm.data.feed import frame_cache, order, tokens


class Raw(NamedTuple):
  """A batch of examples as they are stored.

  Attributes:
    records: Serialized clip records; b'' for text without a clip.
    prompts: Instructions.
    texts: What to answer, one text or several an example.
    seeds: What all that is drawn for an example follows from.
  """

  records: Sequence[bytes]
  prompts: Sequence[str]
  texts: Sequence[Sequence[str]]
  seeds: Int32[np.ndarray, 'b 2']


class Features(NamedTuple):
  """A batch of examples as a model's features are made of.

  Attributes:
    frames: Decoded, sampled and cut.
    frame_mask: Which of them are real.
    inputs: Ids of the instructions, framed and cut.
    targets: Ids of one text each, ended and cut.
  """

  frames: UInt8[np.ndarray, 'b T H W 3']
  frame_mask: Bool[np.ndarray, 'b T']
  inputs: Sequence[Sequence[int]]
  targets: Sequence[Sequence[int]]


def chosen_texts(raw: Raw) -> list[str]:
  """Draws one text of each example: one at random each time."""
  sizes = np.array([len(texts) for texts in raw.texts])
  chosen = order.draws(raw.seeds, sizes)
  return [texts[i] for texts, i in zip(raw.texts, chosen, strict=True)]


def start(
  raw: Raw,
  vocabulary: tokens.TextVocabulary,
  options: frame_cache.FrameOptions,
  lengths: Mapping[str, int | None],
) -> Callable[[], Features]:
  """Starts to make features; what is returned waits for the frames.

  Args:
    raw: Examples.
    vocabulary: What encodes the texts.
    options: How frames are sampled.
    lengths: Most tokens of 'inputs' and 'targets'; without one nothing is cut.
  """
  frames = frame_cache.start(raw.records, raw.seeds, options)
  inputs, targets = (lengths.get(name) for name in ('inputs', 'targets'))
  prompts = {
    prompt: tokens.prompt_ids(vocabulary, prompt, inputs)
    for prompt in set(raw.prompts)
  }
  answers = [
    tokens.target_ids(vocabulary, text, targets) for text in chosen_texts(raw)
  ]
  rows = [prompts[prompt] for prompt in raw.prompts]
  return lambda: Features(*frames(), rows, answers)


def encoder_decoder(
  made: Features, lengths: Mapping[str, int]
) -> dict[str, np.ndarray]:
  """Features of the VLM.

  Example:
    targets [5, 7, 1], length 5 ->
      decoder_target_tokens [5, 7, 1, 0, 0]
      decoder_input_tokens  [0, 5, 7, 1, 0]
      decoder_loss_weights  [1, 1, 1, 0, 0]
  """
  targets = tokens.padded(made.targets, lengths['targets'])
  return {
    'frames': made.frames,
    'frame_mask': made.frame_mask,
    'encoder_input_tokens': tokens.padded(made.inputs, lengths['inputs']),
    'decoder_input_tokens': np.pad(targets[:, :-1], ((0, 0), (1, 0))),
    'decoder_target_tokens': targets,
    'decoder_loss_weights': (targets > 0).astype(np.float32),
  }


def dual_encoder(
  made: Features, lengths: Mapping[str, int]
) -> dict[str, np.ndarray]:
  """Features of two towers: frames and one caption's ids."""
  return {
    'frames': made.frames,
    'text': tokens.padded(made.targets, lengths['targets']),
  }


CONVERTERS = {
  'encoder_decoder': encoder_decoder,
  'dual_encoder': dual_encoder,
}
