"""What a set of our leaves is: sizes for tables and config.json.

A run's own model says it best; else config.json; else the shapes, which leave
open only what they can't show (activations, the end of text).
"""

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

from vidlm.interop import clip_names, mapping
from vidlm.interop.leaves import Leaf
from vidlm.nn.gemma_config import GemmaConfig
from vidlm.nn.t5_config import T5Config


@dataclasses.dataclass(frozen=True)
class Tower:
  """A vision tower: its `variant` and pixels of a side."""

  variant: str
  image_size: int


@dataclasses.dataclass(frozen=True)
class Description:
  """The parts a model has; None for those it has not.

  Attributes:
    llm: The language model.
    img: The vision tower of a VLM, or a lone one.
    clip: Both towers of a dual encoder.
    whole: config.json and table of a model that one class of Hugging Face
      holds, without parts.
    num_frames: T.
  """

  llm: T5Config | GemmaConfig | None = None
  img: Tower | None = None
  clip: clip_names.Shape | None = None
  whole: tuple[Mapping[str, Any], mapping.Table] | None = None
  num_frames: int = 1


def of_model(model: Any, num_frames: int = 1) -> Description:
  """Describes the model of a run.

  Args:
    model: A `VideoVLM` or `TwoTowers`; known by its fields, so that neither
      package is imported.
    num_frames: T of a VLM.

  Raises:
    ValueError: If it is neither, or its towers can't be described as CLIP's.
  """
  config = getattr(model, 'llm_config', None)
  if isinstance(config, T5Config | GemmaConfig):
    tower = Tower(model.variant, model.image_size)
    return Description(llm=config, img=tower, num_frames=num_frames)
  if hasattr(model, 'img') and hasattr(model, 'txt'):
    img, txt = model.img, model.txt
    if img.activation != txt.activation:
      raise ValueError('the towers have different activations, CLIP has one')
    shape = clip_names.Shape(
      variant=img.variant,
      image_size=img.image_size,
      width=txt.width,
      depth=txt.depth,
      num_heads=txt.num_heads,
      mlp_dim=txt.mlp_dim or 4 * txt.width,
      vocab_size=txt.vocab_size,
      context_length=txt.context_length,
      embed_dim=txt.embed_dim,
      eos_id=txt.eos_id,
      activation=txt.activation,
    )
    return Description(clip=shape, num_frames=img.num_frames)
  raise ValueError(
    f'{type(model).__name__} has no table for other formats; --format='
    'checkpoint, big_vision and t5x need none'
  )


def of_leaves(found: Mapping[str, Leaf]) -> Description:
  """Describes leaves by their shapes.

  Args:
    found: {our name: leaf}, layers numbered.

  Raises:
    ValueError: If they are no model known here, or not all of one.
  """
  try:
    return _of_leaves(found)
  except (KeyError, IndexError) as error:
    raise ValueError(
      f'not a whole model: no {error} among its {len(found)} parameters, or of '
      'another shape'
    ) from error


def _of_leaves(found: Mapping[str, Leaf]) -> Description:
  if 'txt/Embed_0/embedding' in found and 'img/ln_pre/scale' in found:
    return Description(clip=_clip(found))
  prefixed = {
    part: {
      name.removeprefix(f'{part}/'): leaf
      for name, leaf in found.items()
      if name.startswith(f'{part}/')
    }
    for part in ('llm', 'img')
  }
  llm = prefixed['llm'] or found
  img = prefixed['img'] or found
  described = Description(
    _language_model(llm),
    _tower(img) if 'embedding/kernel' in img else None,
  )
  if described == Description():
    raise ValueError(
      f'no model known here: it has {", ".join(sorted(found)[:3])} ...'
    )
  return described


def _count(found: Mapping[str, Leaf], pattern: str) -> int:
  numbers = [int(m[1]) for m in map(re.compile(pattern).match, found) if m]
  return 1 + max(numbers, default=-1)


def _language_model(
  found: Mapping[str, Leaf],
) -> T5Config | GemmaConfig | None:
  if 'token_embedder/embedding' in found:
    return _t5(found)
  if 'embedder/input_embedding' in found:
    return _gemma(found)
  return None


def _gemma(found: Mapping[str, Leaf]) -> GemmaConfig:
  """Takes the caps and window of every Gemma 2 of the hub: no shape tells."""
  rows, width = found['embedder/input_embedding'].shape
  layer = 'layers_0'
  heads, head_dim, _ = found[f'{layer}/attn/attn_vec_einsum/w'].shape
  keys = found.get(f'{layer}/attn/kv_einsum/w')
  second = f'{layer}/post_ffw_norm/scale' in found
  caps: dict[str, Any] = {
    'post_norms': True,
    'attn_logit_cap': 50.0,
    'final_logit_cap': 30.0,
    'sliding_window': 4096,
  }
  return GemmaConfig(
    vocab_size=rows,
    emb_dim=width,
    num_layers=_count(found, r'layers_(\d+)/'),
    mlp_dim=found[f'{layer}/mlp/linear'].shape[0],
    num_heads=heads,
    num_kv_heads=heads if keys is None else keys.shape[1],
    head_dim=head_dim,
    **(caps if second else {}),
  )


def _t5(found: Mapping[str, Leaf]) -> T5Config:
  rows, width = found['token_embedder/embedding'].shape
  layer = 'encoder/layers_0'
  per_layer = f'{layer}/relpos_bias/rel_embedding' in found
  table = f'{layer if per_layer else "encoder"}/relpos_bias/rel_embedding'
  heads, buckets = found[table].shape
  gated = f'{layer}/mlp/wi_0/kernel' in found
  return T5Config(
    vocab_size=rows,
    emb_dim=width,
    num_heads=heads,
    head_dim=found[f'{layer}/attention/query/kernel'].shape[1] // heads,
    num_encoder_layers=_count(found, r'encoder/layers_(\d+)/'),
    num_decoder_layers=_count(found, r'decoder/layers_(\d+)/'),
    mlp_dim=found[f'{layer}/mlp/wo/kernel'].shape[0],
    mlp_activations=('gelu', 'linear') if gated else ('relu',),
    logits_via_embedding='decoder/logits_dense/kernel' not in found,
    relpos_buckets=buckets,
    relpos_per_layer=per_layer,
  )


def _variant(found: Mapping[str, Leaf], tower: str) -> str:
  patch, _, _, width = found[f'{tower}embedding/kernel'].shape
  block = f'{tower}Transformer/encoderblock_0'
  heads = found[f'{block}/MultiHeadDotProductAttention_0/query/kernel'].shape[1]
  mlp = found[f'{block}/MlpBlock_0/Dense_0/kernel'].shape[1]
  depth = _count(found, rf'{tower}Transformer/encoderblock_(\d+)/')
  return f'{width},{depth},{mlp},{heads}/{patch}'


def _tower(found: Mapping[str, Leaf]) -> Tower:
  side = math.isqrt(found['pos_embedding'].shape[1])
  return Tower(_variant(found, ''), side * found['embedding/kernel'].shape[0])


def _clip(found: Mapping[str, Leaf]) -> clip_names.Shape:
  rows, width = found['txt/Embed_0/embedding'].shape
  block = 'txt/Encoder_0/encoderblock_0'
  attention = f'{block}/MultiHeadDotProductAttention_0/query/kernel'
  side = math.isqrt(found['img/pos_embedding'].shape[1] - 1)
  return clip_names.Shape(
    variant=_variant(found, 'img/'),
    image_size=side * found['img/embedding/kernel'].shape[0],
    width=width,
    depth=_count(found, r'txt/Encoder_0/encoderblock_(\d+)/'),
    num_heads=found[attention].shape[1],
    mlp_dim=found[f'{block}/MlpBlock_0/Dense_0/kernel'].shape[1],
    vocab_size=rows,
    context_length=found['txt/pos_embedding'].shape[1],
    embed_dim=found['txt/head/kernel'].shape[1],
  )
