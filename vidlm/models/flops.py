"""FLOPs of a video VLM and of training it, from those of its layers."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from vidlm.models.video_vlm import VideoVLM
from vidlm.nn import flops, gemma, t5, vit


@dataclasses.dataclass(frozen=True)
class Component:
  """A part of a model in the order of the forward pass.

  Attributes:
    name: For tables.
    prefixes: Its parameters are those whose names start with one of these.
    forward: FLOPs of one forward pass.
    inputs: Names of the components whose output it reads.
  """

  name: str
  prefixes: tuple[str, ...]
  forward: float
  inputs: tuple[str, ...] = ()


def video_vlm(
  model: VideoVLM, num_frames: int, text_length: int, target_length: int
) -> list[Component]:
  """Returns the parts of a video VLM with the FLOPs of one example.

  Args:
    model: The VLM.
    num_frames: T.
    text_length: Tokens of the instruction.
    target_length: L.

  Returns:
    Components in the order of the forward pass.
  """
  cfg = model.llm_config
  v = vit.decode_variant(model.variant)
  visual = num_frames * (model.image_size // v.patch_size) ** 2
  frames = [
    Component(
      'image encoder',
      ('img/embedding/', 'img/pos_embedding', 'img/Transformer/'),
      num_frames * flops.vit_forward(model.variant, model.image_size),
    ),
    Component(
      'projection',
      ('img/head/', 'img/frame_embedding'),
      flops.dense(visual, v.width * cfg.emb_dim),
      ('image encoder',),
    ),
  ]
  length = visual + text_length
  if isinstance(cfg, gemma.GemmaConfig):
    return frames + _gemma(cfg, length, target_length)
  return frames + _t5(cfg, length, target_length)


def _t5(cfg: t5.T5Config, length: int, target_length: int) -> list[Component]:
  encoder = 'language encoder'
  logits = 'token_embedder' if cfg.logits_via_embedding else 'decoder/logits'
  return [
    Component('token embedding', ('llm/token_embedder/',), 0.0),
    Component(
      encoder,
      ('llm/encoder/',),
      flops.t5_encoder(cfg, length),
      ('projection', 'token embedding'),
    ),
    Component(
      'cross keys and values',
      ('llm/decoder/layers',),
      flops.t5_cross_kv(cfg, length),
      (encoder,),
    ),
    Component(
      'decoder',
      ('llm/decoder/layers', 'llm/decoder/relpos', 'llm/decoder/decoder_norm'),
      flops.t5_decoder(cfg, length, target_length),
      ('cross keys and values', 'token embedding'),
    ),
    Component(
      'logits',
      (f'llm/{logits}',),
      flops.t5_logits(cfg, target_length),
      ('decoder',),
    ),
  ]


def _gemma(
  cfg: gemma.GemmaConfig, length: int, target_length: int
) -> list[Component]:
  # The first target comes from the prefix: one token less goes through.
  after = target_length - 1
  return [
    Component('token embedding', ('llm/embedder/',), 0.0),
    Component(
      'prefix',
      ('llm/layers',),
      flops.gemma_layers(cfg, length, length),
      ('projection', 'token embedding'),
    ),
    Component(
      'decoder',
      ('llm/layers', 'llm/final_norm'),
      flops.gemma_layers(cfg, after, length + after),
      ('prefix', 'token embedding'),
    ),
    Component(
      'logits',
      ('llm/embedder/',),
      flops.dense(target_length, cfg.emb_dim * cfg.vocab_size),
      ('decoder',),
    ),
  ]


def train_step(
  components: Sequence[Component],
  names: Sequence[str],
  is_trained: Callable[[str], bool],
) -> float:
  """Returns FLOPs of one example's forward and backward pass.

  A part counts three times its forward pass if any of its parameters is
  trained, twice if it is frozen but gradients pass through to something
  trained before it, once if nothing before it is trained.

  Args:
    components: Parts in the order of the forward pass.
    names: All parameter names, slash-joined.
    is_trained: Whether a parameter is trained, by name.

  Returns:
    FLOPs.
  """
  trained = [name for name in names if is_trained(name)]
  carries: dict[str, bool] = {}  # Whether a gradient flows through its output.
  total = 0.0
  for part in components:
    own = any(name.startswith(part.prefixes) for name in trained)
    before = any(carries[name] for name in part.inputs)
    carries[part.name] = own or before
    total += part.forward * flops.passes(own, before)
  return total


def captioning(
  model: VideoVLM,
  num_frames: int,
  text_length: int,
  target_length: int,
  num_samples: int,
) -> Mapping[str, float]:
  """Returns FLOPs of sampling captions of one clip, by part.

  Args:
    model: The VLM.
    num_frames: T.
    text_length: Tokens of the instruction.
    target_length: Tokens of each sample.
    num_samples: R.

  Returns:
    {component name: FLOPs}; the decoder's parts count R times.
  """
  parts = video_vlm(model, num_frames, text_length, target_length)
  return {
    part.name: part.forward
    * (num_samples if part.name in ('decoder', 'logits') else 1)
    for part in parts
  }
