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


def passes(
  parts: Sequence[Part],
  names: Sequence[str],
  is_trained: Callable[[str], bool],
) -> list[tuple[float, int]]:
  """Applies the rule of three, two, one to a tower.

  Args:
    parts: in the order of the forward pass.
    names: all parameters of the model.
    is_trained: says of a parameter's name whether it trains.

  Returns:
    (forward FLOPs of one example, times they are spent in a step) of each part.
  """
  counted, gradient_passes = [], False
  for pattern, forward in parts:
    trained = any(is_trained(n) for n in names if re.fullmatch(pattern, n))
    counted.append((forward, flops.passes(trained, gradient_passes)))
    gradient_passes |= trained
  return counted


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
  towers = _towers(model, text_length, names, is_trained)
  matrix = 3.0 * 2 * batch_size**2 * model.img.embed_dim
  return batch_size * sum(x * times for x, times in towers) + matrix


def repeated_flops(
  model: two_towers.TwoTowers,
  text_length: int,
  batch_size: int,
  names: Sequence[str],
  is_trained: Callable[[str], bool],
) -> float:
  """FLOPs that a step in parts adds: embeddings are made, then made again.

  What lies before all that trains has no gradient and is not made again.

  Args:
    model: the two towers.
    text_length: tokens of a text.
    batch_size: of the global batch.
    names: all parameters of the model.
    is_trained: says of a parameter's name whether it trains.

  Returns:
    FLOPs.
  """
  towers = _towers(model, text_length, names, is_trained)
  return batch_size * sum(x for x, times in towers if times > 1)


def _towers(
  model: two_towers.TwoTowers,
  text_length: int,
  names: Sequence[str],
  is_trained: Callable[[str], bool],
) -> list[tuple[float, int]]:
  towers = (image_parts(model.img), text_parts(model.txt, text_length))
  return [x for parts in towers for x in passes(parts, names, is_trained)]
