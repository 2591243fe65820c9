"""The cases of against_transformers.py: shapes, inputs, random weights."""

import dataclasses
import pathlib
import sys
from typing import Any

import numpy as np

# The prefix of a clip is made of these, then of the prompt.
IMAGE_TOKEN = 3
SAMPLES = 4
TOP_P, TEMPERATURE = 0.95, 0.7
CASES = ('vit', 't5', 'captions')


@dataclasses.dataclass(frozen=True)
class Sizes:
  """Shapes; the defaults keep two cores busy for some seconds a run.

  Attributes:
    vit: Of SiglipVisionConfig.
    images: Batch of the ViT.
    t5: Of T5Config.
    texts: Batch of the T5.
    source: Tokens an encoder reads.
    target: Tokens a decoder reads.
    vision: Of the captioner's SiglipVisionConfig.
    gemma: Of the captioner's GemmaConfig.
    clips: Batch of the captioner.
    frames: T.
    prompt: Tokens of the prompt.
    caption: Tokens of a caption.
  """

  vit: dict[str, int] = dataclasses.field(
    default_factory=lambda: vision_sizes(768, 12, 12, 224, 16)
  )
  images: int = 8
  t5: dict[str, int] = dataclasses.field(
    default_factory=lambda: {
      'd_model': 768,
      'd_kv': 64,
      'd_ff': 2048,
      'num_heads': 12,
      'num_layers': 12,
      'vocab_size': 32128,
    }
  )
  texts: int = 4
  source: int = 512
  target: int = 64
  vision: dict[str, int] = dataclasses.field(
    default_factory=lambda: vision_sizes(384, 12, 6, 224, 16)
  )
  gemma: dict[str, int] = dataclasses.field(
    default_factory=lambda: gemma_sizes(512, 8, 8, 64, 32768)
  )
  clips: int = 2
  frames: int = 8
  prompt: int = 8
  caption: int = 32


def vision_sizes(
  width: int, depth: int, heads: int, image: int, patch: int
) -> dict[str, int]:
  """Fields of SiglipVisionConfig."""
  return {
    'hidden_size': width,
    'intermediate_size': 4 * width,
    'num_hidden_layers': depth,
    'num_attention_heads': heads,
    'image_size': image,
    'patch_size': patch,
  }


def gemma_sizes(
  width: int, depth: int, heads: int, head_dim: int, vocab: int
) -> dict[str, int]:
  """Fields of GemmaConfig, one head of keys as PaliGemma's."""
  return {
    'hidden_size': width,
    'intermediate_size': 4 * width,
    'num_hidden_layers': depth,
    'num_attention_heads': heads,
    'num_key_value_heads': 1,
    'head_dim': head_dim,
    'vocab_size': vocab,
  }


SIZES = {
  'full': Sizes(),
  'tiny': Sizes(
    vit=vision_sizes(32, 2, 2, 32, 16),
    t5={
      'd_model': 32,
      'd_kv': 8,
      'd_ff': 48,
      'num_heads': 4,
      'num_layers': 2,
      'vocab_size': 64,
    },
    source=16,
    target=8,
    vision=vision_sizes(32, 2, 2, 32, 16),
    gemma=gemma_sizes(32, 2, 4, 8, 64),
    frames=2,
    caption=6,
  ),
}


def inputs(case: str, sizes: Sizes) -> dict[str, np.ndarray]:
  """The same random inputs for both sides."""
  rng = np.random.default_rng(0)
  if case == 'vit':
    side = sizes.vit['image_size']
    pixels = rng.uniform(-1, 1, (sizes.images, side, side, 3))
    weights = rng.normal(size=(sizes.images, sizes.vit['hidden_size']))
    return {
      'pixels': pixels.astype(np.float32),
      'weights': weights.astype(np.float32) / sizes.images,
    }
  if case == 't5':
    vocab = sizes.t5['vocab_size']
    return {
      'source': rng.integers(2, vocab, (sizes.texts, sizes.source)),
      'target': rng.integers(2, vocab, (sizes.texts, sizes.target)),
    }
  side = sizes.vision['image_size']
  shape = (sizes.clips, sizes.frames, side, side, 3)
  vocab = sizes.gemma['vocab_size']
  return {
    'frames': rng.integers(0, 256, shape, np.uint8),
    'prompt': rng.integers(4, vocab, (sizes.clips, sizes.prompt)),
  }


def import_transformers() -> Any:
  """Imports transformers without torchvision, which no case needs.

  PyPI's is built for CUDA, and beside a CPU build of torch it fails to import.
  """
  sys.modules.setdefault('torchvision', None)
  import transformers

  return transformers


def make(case: str, sizes: Sizes, folder: pathlib.Path) -> None:
  """Saves a random model of transformers, from which both sides load."""
  import torch

  hf = import_transformers()
  torch.manual_seed(0)
  if case == 'vit':
    model = hf.SiglipVisionModel(hf.SiglipVisionConfig(**sizes.vit))
  elif case == 't5':
    config = hf.T5Config(
      **sizes.t5,
      feed_forward_proj='gated-gelu',
      dropout_rate=0.0,
      tie_word_embeddings=False,
      decoder_start_token_id=0,
    )
    model = hf.T5ForConditionalGeneration(config)
    # transformers 5 ties the logits, T5 1.1 doesn't.
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone())
  else:
    model = hf.PaliGemmaForConditionalGeneration(
      hf.PaliGemmaConfig(
        vision_config={
          'model_type': 'siglip_vision_model',
          'vision_use_head': False,
          **sizes.vision,
        },
        text_config={'model_type': 'gemma', **sizes.gemma},
        projection_dim=sizes.gemma['hidden_size'],
        image_token_index=IMAGE_TOKEN,
      )
    )
    with torch.no_grad():  # greedy text of small random weights is monotonous
      for name, p in model.named_parameters():
        if p.ndim > 1 and 'embed' not in name:
          p.mul_(3.0)
  model.save_pretrained(folder)
