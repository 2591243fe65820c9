"""CLIP's two towers in Hugging Face's names (`CLIPModel`) <-> ours.

Source of the names: transformers, `models/clip/modeling_clip.py`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from vidlm.interop import mapping, vit_names
from vidlm.interop.leaves import Leaf
from vidlm.nn import vit

# Their activation: ours.
_ACTIVATIONS = {
  'quick_gelu': 'quick_gelu',
  'gelu': 'gelu_exact',
  'gelu_pytorch_tanh': 'gelu',
  'gelu_new': 'gelu',
}
_VISION = {
  'hidden_size': 768,
  'intermediate_size': 3072,
  'num_hidden_layers': 12,
  'num_attention_heads': 12,
  'image_size': 224,
  'patch_size': 32,
  'hidden_act': 'quick_gelu',
  'layer_norm_eps': 1e-5,
}
_TEXT = {
  'vocab_size': 49408,
  'hidden_size': 512,
  'intermediate_size': 2048,
  'num_hidden_layers': 12,
  'num_attention_heads': 8,
  'max_position_embeddings': 77,
  'hidden_act': 'quick_gelu',
  'layer_norm_eps': 1e-5,
  'eos_token_id': 49407,
}
_BUFFERS = (r'.*\.position_ids',)


@dataclasses.dataclass(frozen=True)
class Shape:
  """Sizes of both towers.

  Attributes:
    variant: The image tower, see `vit.decode_variant`.
    image_size: Pixels of a side.
    width: Width of the text tower.
    depth: Blocks of the text tower.
    num_heads: Heads of the text tower.
    mlp_dim: Width inside the MLPs of the text tower.
    vocab_size: Rows of the token table.
    context_length: Tokens of a text at most.
    embed_dim: Width of the shared space.
    eos_id: Where a text is read; None for its highest id.
    activation: Activation of both towers, in our words.
  """

  variant: str
  image_size: int
  width: int
  depth: int
  num_heads: int
  mlp_dim: int
  vocab_size: int
  context_length: int
  embed_dim: int
  eos_id: int | None = None
  activation: str = 'quick_gelu'


def shape(config: Mapping[str, Any]) -> Shape:
  """Reads sizes from a config.json.

  Raises:
    ValueError: If the architecture differs from ours in its arithmetic.
  """
  vision = {**_VISION, **(config.get('vision_config') or {})}
  text = {**_TEXT, **(config.get('text_config') or {})}
  for part in (vision, text):
    if part['layer_norm_eps'] != 1e-5:
      raise ValueError(
        f'config.json: layer_norm_eps {part["layer_norm_eps"]}, these towers '
        'compute with 1e-05'
      )
    if part['hidden_act'] not in _ACTIVATIONS:
      raise ValueError(
        f'config.json: hidden_act {part["hidden_act"]!r} is not one of '
        f'{sorted(_ACTIVATIONS)}'
      )
  if vision['hidden_act'] != text['hidden_act']:
    raise ValueError('config.json: the towers have different hidden_act')
  # transformers reads at the highest id where config.json says 2, the mistake
  # of its early conversions; so does OpenAI, whose end of text is the highest.
  eos = text['eos_token_id']
  return Shape(
    variant=(
      f'{vision["hidden_size"]},{vision["num_hidden_layers"]},'
      f'{vision["intermediate_size"]},{vision["num_attention_heads"]}/'
      f'{vision["patch_size"]}'
    ),
    image_size=vision['image_size'],
    width=text['hidden_size'],
    depth=text['num_hidden_layers'],
    num_heads=text['num_attention_heads'],
    mlp_dim=text['intermediate_size'],
    vocab_size=text['vocab_size'],
    context_length=text['max_position_embeddings'],
    embed_dim=config.get('projection_dim', 512),
    eos_id=None if eos in (2, text['vocab_size'] - 1) else eos,
    activation=_ACTIVATIONS[vision['hidden_act']],
  )


def to_config(s: Shape) -> dict[str, Any]:
  """Returns the config.json of `CLIPModel`; the inverse of `shape`.

  Raises:
    ValueError: If the text is read where `CLIPModel` can't.
  """
  if s.eos_id == 2:
    raise ValueError(
      'eos_id 2: CLIPModel takes this to mean the highest id of a text'
    )
  v = vit.decode_variant(s.variant)
  names = {ours: theirs for theirs, ours in reversed(_ACTIVATIONS.items())}
  act = names[s.activation]
  return {
    'architectures': ['CLIPModel'],
    'model_type': 'clip',
    'projection_dim': s.embed_dim,
    'logit_scale_init_value': 2.6592,  # transformers' default, ln(1 / 0.07)
    'vision_config': {
      **_VISION,
      'model_type': 'clip_vision_model',
      'hidden_size': v.width,
      'intermediate_size': v.mlp_dim,
      'num_hidden_layers': v.depth,
      'num_attention_heads': v.num_heads,
      'image_size': s.image_size,
      'patch_size': v.patch_size,
      'hidden_act': act,
      'projection_dim': s.embed_dim,
    },
    'text_config': {
      **_TEXT,
      'model_type': 'clip_text_model',
      'vocab_size': s.vocab_size,
      'hidden_size': s.width,
      'intermediate_size': s.mlp_dim,
      'num_hidden_layers': s.depth,
      'num_attention_heads': s.num_heads,
      'max_position_embeddings': s.context_length,
      'hidden_act': act,
      'projection_dim': s.embed_dim,
      'eos_token_id': 2 if s.eos_id is None else s.eos_id,
      'bos_token_id': 0,
      'pad_token_id': 0,
    },
  }


def table(s: Shape) -> mapping.Table:
  """Returns the rows of `CLIPModel`."""
  image, text = sizes(s)
  p, q = 'vision_model.', 'text_model.'
  conv = 'c rgb h w -> h w rgb c'
  entries = mapping.rows(
    [
      ('cls', f'{p}embeddings.class_embedding', 'c -> 1 1 c'),
      ('embedding/kernel', f'{p}embeddings.patch_embedding.weight', conv),
      (
        'pos_embedding',
        f'{p}embeddings.position_embedding.weight',
        'n c -> 1 n c',
      ),
      ('head/kernel', 'visual_projection.weight', 'e c -> c e'),
      *vit_names.norm('ln_pre', f'{p}pre_layrnorm'),  # sic
      *vit_names.norm('Transformer/encoder_norm', f'{p}post_layernorm'),
    ],
    'img/',
    '',
    **image,
  )
  entries += mapping.rows(
    [
      (
        'Embed_0/embedding',
        f'{q}embeddings.token_embedding.weight',
        'v c->v c',
      ),
      (
        'pos_embedding',
        f'{q}embeddings.position_embedding.weight',
        'l c -> 1 l c',
      ),
      ('head/kernel', 'text_projection.weight', 'e c -> c e'),
      *vit_names.norm('Encoder_0/encoder_norm', f'{q}final_layer_norm'),
    ],
    'txt/',
    '',
    **text,
  )
  depth = vit.decode_variant(s.variant).depth
  stacks = ('img/Transformer/', 'txt/Encoder_0/')
  entries += vit_names.blocks(stacks[0], f'{p}encoder.layers.', depth, **image)
  entries += vit_names.blocks(stacks[1], f'{q}encoder.layers.', s.depth, **text)
  entries += mapping.rows([('t', 'logit_scale', '-> 1')])
  return mapping.Table(tuple(entries), _BUFFERS)


def sizes(s: Shape) -> tuple[dict[str, int], dict[str, int]]:
  """Returns the axes of the tables' rows, of image and text tower."""
  v = vit.decode_variant(s.variant)
  image = {
    'c': v.width,
    'k': v.num_heads,
    'd': v.width // v.num_heads,
    'm': v.mlp_dim,
    'n': 1 + (s.image_size // v.patch_size) ** 2,
    'rgb': 3,
    'h': v.patch_size,
    'w': v.patch_size,
    'e': s.embed_dim,
  }
  text = {
    'c': s.width,
    'k': s.num_heads,
    'd': s.width // s.num_heads,
    'm': s.mlp_dim,
    'v': s.vocab_size,
    'l': s.context_length,
    'e': s.embed_dim,
  }
  return image, text


def read_table(
  config: Mapping[str, Any], theirs: Mapping[str, Leaf]
) -> mapping.Table:
  """Returns the table that reads a folder of `CLIPModel`.

  Args:
    config: Its config.json.
    theirs: Its tensors.
  """
  del theirs
  return table(shape(config))
