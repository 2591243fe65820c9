"""CLIP in the names of openai/CLIP's state dict, which open_clip keeps.

Source: openai/CLIP, `clip/model.py` (names, and sizes found from tensors).
"""

import re
from collections.abc import Mapping

from vidlm.interop import clip_names, mapping, vit_names
from vidlm.interop.clip_names import Shape
from vidlm.interop.leaves import Leaf
from vidlm.nn import vit

# Beside the weights in OpenAI's archives.
_SCALARS = ('input_resolution', 'context_length', 'vocab_size', 'attn_mask')


def table(s: Shape) -> mapping.Table:
  """Returns rows of the state dict."""
  image, text = clip_names.sizes(s)
  conv = 'c rgb h w -> h w rgb c'
  entries = mapping.rows(
    [
      ('cls', 'class_embedding', 'c -> 1 1 c'),
      ('embedding/kernel', 'conv1.weight', conv),
      ('pos_embedding', 'positional_embedding', 'n c -> 1 n c'),
      ('head/kernel', 'proj', 'c e -> c e'),
      *vit_names.norm('ln_pre', 'ln_pre'),
      *vit_names.norm('Transformer/encoder_norm', 'ln_post'),
    ],
    'img/',
    'visual.',
    **image,
  )
  entries += mapping.rows(
    [
      ('Embed_0/embedding', 'token_embedding.weight', 'v c -> v c'),
      ('pos_embedding', 'positional_embedding', 'l c -> 1 l c'),
      ('head/kernel', 'text_projection', 'c e -> c e'),
      *vit_names.norm('Encoder_0/encoder_norm', 'ln_final'),
    ],
    'txt/',
    '',
    **text,
  )
  depth = vit.decode_variant(s.variant).depth
  entries += vit_names.openai_blocks(
    'img/Transformer/', 'visual.transformer.resblocks.', depth, **image
  )
  entries += vit_names.openai_blocks(
    'txt/Encoder_0/', 'transformer.resblocks.', s.depth, **text
  )
  entries += mapping.rows([('t', 'logit_scale', '-> 1')])
  return mapping.Table(tuple(entries), _SCALARS)


def is_openai(names: Mapping[str, Leaf]) -> bool:
  """Returns whether tensors bear openai/CLIP's names."""
  return {'visual.conv1.weight', 'token_embedding.weight'} <= names.keys()


def shape(theirs: Mapping[str, Leaf]) -> Shape:
  """Reads sizes off the tensors of openai/CLIP, as its own loader does.

  Heads are 64 wide, the activation is QuickGELU: true of all OpenAI's models;
  open_clip's own models with GELU have to come as `CLIPModel`.
  """
  conv = theirs['visual.conv1.weight'].shape
  count = theirs['visual.positional_embedding'].shape[0] - 1
  width = theirs['token_embedding.weight'].shape[1]
  wide = theirs['visual.transformer.resblocks.0.mlp.c_fc.weight'].shape[0]
  return Shape(
    variant=(
      f'{conv[0]},{_depth(theirs, "visual.")},{wide},'
      f'{max(conv[0] // 64, 1)}/{conv[-1]}'
    ),
    image_size=conv[-1] * round(count**0.5),
    width=width,
    depth=_depth(theirs, ''),
    num_heads=max(width // 64, 1),
    mlp_dim=theirs['transformer.resblocks.0.mlp.c_fc.weight'].shape[0],
    vocab_size=theirs['token_embedding.weight'].shape[0],
    context_length=theirs['positional_embedding'].shape[0],
    embed_dim=theirs['text_projection'].shape[1],
  )


def _depth(names: Mapping[str, Leaf], prefix: str) -> int:
  pattern = re.compile(re.escape(prefix) + r'transformer\.resblocks\.(\d+)\..*')
  return 1 + max(int(m[1]) for m in map(pattern.fullmatch, names) if m)
