"""FLOPs of two towers and of a step that trains them, from their layers'."""

import re
from collections.abc import Callable, Sequence

from dualenc.models import text, two_towers, vit_st
from vidlm.nn import flops, vit

# (pattern of the parameters of a part, forward FLOPs of one example)
Part = tuple[str, float]


def image_parts(model: vit_st.ViTST) -> list[Part]:
  """Forward FLOPs of one clip, in the order of the forward pass."""
  v = vit.decode_variant(model.variant)
  patches = model.num_frames * (model.image_size // v.patch_size) ** 2
  stem = flops.patches(patches, v.patch_size, v.width)
  blocks = flops.transformer(1 + patches, v.width, v.depth, v.mlp_dim)
  return [
    (r'img/(embedding/.*|cls|\w+_embedding|ln_pre/.*)', stem),
    (r'img/Transformer/.*', blocks),
    (r'img/head/.*', flops.dense(1, v.width * model.embed_dim)),
  ]


def text_parts(model: text.TextTransformer, length: int) -> list[Part]:
  """Forward FLOPs of one text of `length` tokens."""
  mlp_dim = model.mlp_dim or 4 * model.width
  blocks = flops.transformer(length, model.width, model.depth, mlp_dim)
  return [
    (r'txt/(Embed_0/.*|pos_embedding)', 0.0),
    (r'txt/Encoder_0/.*', blocks),
    (r'txt/head/.*', flops.dense(1, model.width * model.embed_dim)),
  ]


def training_flops(
  parts: Sequence[Part],
  names: Sequence[str],
  is_trained: Callable[[str], bool],
) -> float:
  """Applies the rule of three, two, one to a tower.

  Args:
    parts: in the order of the forward pass.
    names: all parameters of the model.
    is_trained: says of a parameter's name whether it trains.

  Returns:
    FLOPs of one example, forward and backward.
  """
  total, gradient_passes = 0.0, False
  for pattern, forward in parts:
    trained = any(is_trained(n) for n in names if re.fullmatch(pattern, n))
    total += forward * flops.passes(trained, gradient_passes)
    gradient_passes |= trained
  return total


def flops_per_step(
  model: two_towers.TwoTowers,
  text_length: int,
  batch_size: int,
  names: Sequence[str],
  is_trained: Callable[[str], bool],
) -> float:
  """FLOPs of a step over the global batch, the similarity matrix included.

  Args:
    model: the two towers.
    text_length: tokens of a text.
    batch_size: of the global batch.
    names: all parameters of the model.
    is_trained: says of a parameter's name whether it trains.

  Returns:
    FLOPs.
  """
  example = training_flops(image_parts(model.img), names, is_trained)
  example += training_flops(
    text_parts(model.txt, text_length), names, is_trained
  )
  matrix = 3.0 * 2 * batch_size**2 * model.img.embed_dim
  return batch_size * example + matrix
