"""SigLIP's vision tower in Hugging Face's names <-> big_vision's.

SigLIP and the fixed-resolution SigLIP 2 models (`SiglipModel`,
`SiglipVisionModel`). Source of the names: transformers,
`models/siglip/modeling_siglip.py`.
"""

import re
from collections.abc import Mapping
from typing import Any

from vidlm.interop import mapping, vit_names
from vidlm.interop.leaves import Leaf
from vidlm.nn import vit

_DEFAULTS = {
  'hidden_size': 768,
  'intermediate_size': 3072,
  'num_hidden_layers': 12,
  'num_attention_heads': 12,
  'num_channels': 3,
  'image_size': 224,
  'patch_size': 16,
  'hidden_act': 'gelu_pytorch_tanh',
  'layer_norm_eps': 1e-6,
}
_HEAD = 'MAPHead_0/MultiHeadDotProductAttention_0'
# The prefixes transformers' versions and classes put before the tower.
_PREFIXES = ('vision_model.', '', 'vision_tower.vision_model.')
_TEXT = (r'text_model\..*', r'logit_scale', r'logit_bias')
_BUFFERS = (r'.*\.position_ids',)


def vision_config(config: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the tower's part of a config.json, with the defaults filled in.

  Raises:
    ValueError: If its arithmetic is not our ViT's.
  """
  vision = {**_DEFAULTS, **config.get('vision_config', config)}
  for name, wanted in (
    ('hidden_act', 'gelu_pytorch_tanh'),
    ('layer_norm_eps', 1e-6),
    ('num_channels', 3),
  ):
    if vision[name] != wanted:
      raise ValueError(
        f'config.json: {name} {vision[name]!r}, this ViT computes with '
        f'{wanted!r}'
      )
  return vision


def variant(vision: Mapping[str, Any]) -> str:
  """Returns the `variant` of our ViT for a vision config."""
  return (
    f'{vision["hidden_size"]},{vision["num_hidden_layers"]},'
    f'{vision["intermediate_size"]},{vision["num_attention_heads"]}/'
    f'{vision["patch_size"]}'
  )


def to_config(
  model_variant: str, image_size: int, pooled: bool
) -> dict[str, Any]:
  """Returns the config.json of a tower.

  Args:
    model_variant: See `vit.decode_variant`.
    image_size: Pixels of a side.
    pooled: Whether it has the attention pooling head.
  """
  v = vit.decode_variant(model_variant)
  return {
    'architectures': ['SiglipVisionModel'],
    'model_type': 'siglip_vision_model',
    **_DEFAULTS,
    'hidden_size': v.width,
    'intermediate_size': v.mlp_dim,
    'num_hidden_layers': v.depth,
    'num_attention_heads': v.num_heads,
    'image_size': image_size,
    'patch_size': v.patch_size,
    'vision_use_head': pooled,
  }


def table(
  model_variant: str,
  image_size: int,
  prefix: str = 'vision_model.',
  pooled: bool = True,
) -> mapping.Table:
  """Returns rows of a tower.

  Args:
    model_variant: See `vit.decode_variant`.
    image_size: Pixels of a side.
    prefix: Before their names.
    pooled: Whether it has the attention pooling head.
  """
  v = vit.decode_variant(model_variant)
  sizes = {
    'c': v.width,
    'k': v.num_heads,
    'd': v.width // v.num_heads,
    'm': v.mlp_dim,
    'n': (image_size // v.patch_size) ** 2,
    'rgb': 3,
    'h': v.patch_size,
    'w': v.patch_size,
  }
  top = [
    (
      'embedding/kernel',
      'embeddings.patch_embedding.weight',
      'c rgb h w -> h w rgb c',
    ),
    ('embedding/bias', 'embeddings.patch_embedding.bias', 'c -> c'),
    (
      'pos_embedding',
      'embeddings.position_embedding.weight',
      'n c -> 1 n c',
    ),
    *vit_names.norm('Transformer/encoder_norm', 'post_layernorm'),
  ]
  if pooled:
    top += [
      ('MAPHead_0/probe', 'head.probe', 'b one c -> b one c'),
      *vit_names.norm('MAPHead_0/LayerNorm_0', 'head.layernorm'),
      *vit_names.mlp('MAPHead_0/MlpBlock_0', ('head.mlp.fc1', 'head.mlp.fc2')),
      *vit_names.fused_attention(_HEAD, 'head.attention'),
    ]
  entries = mapping.rows(top, '', prefix, **sizes)
  entries += vit_names.blocks(
    'Transformer/', f'{prefix}encoder.layers.', v.depth, **sizes
  )
  return mapping.Table(tuple(entries), _BUFFERS, _TEXT)


def read_table(
  config: Mapping[str, Any], theirs: Mapping[str, Leaf]
) -> mapping.Table:
  """Returns the table that reads a folder.

  Args:
    config: Its config.json.
    theirs: Its tensors.

  Raises:
    ValueError: If the tower is not one of ours.
  """
  vision = vision_config(config)
  prefix = next(
    (p for p in _PREFIXES if f'{p}post_layernorm.weight' in theirs),
    _PREFIXES[0],
  )
  head = re.compile(re.escape(prefix) + r'head\..*')
  pooled = any(head.fullmatch(name) for name in theirs)
  return table(variant(vision), vision['image_size'], prefix, pooled)
