"""FLOPs by arithmetic: matrix products only, 1 multiply-add = 2 FLOP.

`cost_analysis` of a scanned program counts a scan body once, so it is no use
here. Published figures (model FLOP utilisation) count the same way: without
rematerialisation.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from vidlm.models.video_vlm import VideoVLM
from vidlm.nn import gemma, t5, vit


@dataclasses.dataclass(frozen=True)
class Component:
  """A part of a model in the order of the forward pass.

  Attributes:
    name: for tables.
    prefixes: its parameters are those whose names start with one of these.
    forward: FLOPs of one forward pass.
    inputs: names of the components whose output it reads.
  """

  name: str
  prefixes: tuple[str, ...]
  forward: float
  inputs: tuple[str, ...] = ()


def transformer(
  length: int, width: int, depth: int, mlp_dim: int, mlp_kernels: int = 2
) -> float:
  """Returns FLOPs of a stack of encoder blocks on one sequence.

  Args:
    length: tokens.
    width: C, also the joint width of the heads.
    depth: blocks.
    mlp_dim: width inside the MLP.
    mlp_kernels: 2, or 3 with a gate.

  Returns:
    FLOPs: projections, MLP, and length^2 attention.
  """
  kernels = 4 * width * width + mlp_kernels * width * mlp_dim
  return depth * (2.0 * length * kernels + 4.0 * length**2 * width)


def vit_forward(variant: str, image_size: int) -> float:
  """Returns FLOPs of a ViT without head on one image.

  Args:
    variant: e.g. 'G/14'.
    image_size: pixels of a side.
  """
  v = vit.decode_variant(variant)
  tokens = (image_size // v.patch_size) ** 2
  patches = 2.0 * tokens * (3 * v.patch_size**2) * v.width
  return patches + transformer(tokens, v.width, v.depth, v.mlp_dim)


def t5_encoder(config: t5.T5Config, length: int) -> float:
  """Returns FLOPs of a T5 encoder on one sequence.

  Args:
    config: sizes.
    length: S.
  """
  joined = config.num_heads * config.head_dim
  return config.num_encoder_layers * (
    2.0 * length * (4 * config.emb_dim * joined + _mlp(config))
    + 4.0 * length**2 * joined
  )


def t5_cross_kv(config: t5.T5Config, encoder_length: int) -> float:
  """Returns FLOPs of projecting cross-attention keys and values once.

  Args:
    config: sizes.
    encoder_length: S.
  """
  joined = config.num_heads * config.head_dim
  kernels = 2 * config.emb_dim * joined
  return config.num_decoder_layers * 2.0 * encoder_length * kernels


def t5_decoder(config: t5.T5Config, encoder_length: int, length: int) -> float:
  """Returns FLOPs of a decoder on one target, given cross keys and values.

  Args:
    config: sizes.
    encoder_length: S.
    length: L.
  """
  joined = config.num_heads * config.head_dim
  kernels = 6 * config.emb_dim * joined + _mlp(config)
  attention = 4.0 * length * (length + encoder_length) * joined
  return config.num_decoder_layers * (2.0 * length * kernels + attention)


def t5_logits(config: t5.T5Config, length: int) -> float:
  """Returns FLOPs of the output layer on one target.

  Args:
    config: sizes.
    length: L.
  """
  return 2.0 * length * config.emb_dim * config.vocab_size


def gemma_layers(config: gemma.GemmaConfig, length: int, keys: int) -> float:
  """Returns FLOPs of all layers on some tokens of one sequence.

  A sliding window saves nothing: masked products are computed.

  Args:
    config: sizes.
    length: tokens.
    keys: tokens they attend to, themselves included.
  """
  heads = 2 * config.num_heads + 2 * config.num_kv_heads
  kernels = config.emb_dim * (heads * config.head_dim + 3 * config.mlp_dim)
  attention = 4.0 * length * keys * config.num_heads * config.head_dim
  return config.num_layers * (2.0 * length * kernels + attention)


def _mlp(config: t5.T5Config) -> int:
  kernels = len(config.mlp_activations) + 1
  return kernels * config.emb_dim * config.mlp_dim


def video_vlm(
  model: VideoVLM, num_frames: int, text_length: int, target_length: int
) -> list[Component]:
  """Returns the parts of a video VLM with the FLOPs of one example.

  Args:
    model: the VLM.
    num_frames: T.
    text_length: tokens of the instruction.
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
      num_frames * vit_forward(model.variant, model.image_size),
    ),
    Component(
      'projection',
      ('img/head/', 'img/frame_embedding'),
      2.0 * visual * v.width * cfg.emb_dim,
      ('image encoder',),
    ),
  ]
  language = _gemma if isinstance(cfg, gemma.GemmaConfig) else _t5
  return frames + language(cfg, visual + text_length, target_length)


def _t5(cfg: t5.T5Config, length: int, target_length: int) -> list[Component]:
  encoder = 'language encoder'
  logits = 'token_embedder' if cfg.logits_via_embedding else 'decoder/logits'
  return [
    Component('token embedding', ('llm/token_embedder/',), 0.0),
    Component(
      encoder,
      ('llm/encoder/',),
      t5_encoder(cfg, length),
      ('projection', 'token embedding'),
    ),
    Component(
      'cross keys and values',
      ('llm/decoder/layers',),
      t5_cross_kv(cfg, length),
      (encoder,),
    ),
    Component(
      'decoder',
      ('llm/decoder/layers', 'llm/decoder/relpos', 'llm/decoder/decoder_norm'),
      t5_decoder(cfg, length, target_length),
      ('cross keys and values', 'token embedding'),
    ),
    Component(
      'logits', (f'llm/{logits}',), t5_logits(cfg, target_length), ('decoder',)
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
      gemma_layers(cfg, length, length),
      ('projection', 'token embedding'),
    ),
    Component(
      'decoder',
      ('llm/layers', 'llm/final_norm'),
      gemma_layers(cfg, after, length + after),
      ('prefix', 'token embedding'),
    ),
    Component(
      'logits',
      ('llm/embedder/',),
      2.0 * target_length * cfg.emb_dim * cfg.vocab_size,
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
    components: in the order of the forward pass.
    names: all parameter names, slash-joined.
    is_trained: whether a parameter is trained, by name.

  Returns:
    FLOPs.
  """
  trained = [name for name in names if is_trained(name)]
  carries: dict[str, bool] = {}  # Whether a gradient flows through its output.
  total = 0.0
  for part in components:
    own = any(name.startswith(part.prefixes) for name in trained)
    passes = any(carries[name] for name in part.inputs)
    carries[part.name] = own or passes
    total += part.forward * (3 if own else 2 if passes else 1)
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
    model: the VLM.
    num_frames: T.
    text_length: tokens of the instruction.
    target_length: tokens of each sample.
    num_samples: K.

  Returns:
    {component name: FLOPs}; the decoder's parts count K times.
  """
  parts = video_vlm(model, num_frames, text_length, target_length)
  return {
    part.name: part.forward
    * (num_samples if part.name in ('decoder', 'logits') else 1)
    for part in parts
  }
