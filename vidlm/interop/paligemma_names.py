"""Tables of PaliGemma's and Gemma's names: ours, theirs, and how axes move."""

from collections.abc import Iterable, Mapping
from typing import Any

from vidlm.interop import paligemma_config

# Ours, theirs (several are stacked in front), 'their axes -> our axes'.
Row = tuple[str, tuple[str, ...], str]

# Prefixes of checkpoints on the hub (kept by `save_pretrained`), of modules in
# transformers 5, and of a language model alone.
_TEXT = ('language_model.model.', 'model.language_model.', 'model.')
_VISION = (
  'vision_tower.vision_model.',
  'vision_tower.',
  'model.vision_tower.',
)
_PROJECTOR = (
  'multi_modal_projector.linear.',
  'model.multi_modal_projector.linear.',
)


def sizes(config: Mapping[str, Any]) -> dict[str, int]:
  """Sizes of the axes that are split: d of Gemma's heads, e of the ViT's."""
  sizes = {'d': paligemma_config.gemma_config(config).head_dim}
  if 'vision_config' in config:
    vision = paligemma_config.vision_config(config)
    sizes['e'] = vision['hidden_size'] // vision['num_attention_heads']
  return sizes


def rows(
  config: Mapping[str, Any], theirs: Iterable[str] = ()
) -> tuple[Row, ...]:
  """Returns all rows of a model.

  Args:
    config: a config.json of PaliGemma, Gemma or Gemma 2.
    theirs: their names, which tell the prefixes; by default the hub's.
  """
  theirs = set(theirs)
  vision = 'vision_config' in config
  # A Gemma alone is called by the last prefix.
  text = _TEXT if vision else _TEXT[-1:]
  prefix = _prefix(text, 'norm.weight', theirs)
  table = _text_rows(config, prefix)
  if not vision:
    return tuple(table)
  prefix = _prefix(_VISION, 'post_layernorm.weight', theirs)
  table += _vision_rows(config, prefix)
  prefix = _prefix(_PROJECTOR, 'weight', theirs)
  table += [
    ('img/head/kernel', (f'{prefix}weight',), 'o c -> c o'),
    ('img/head/bias', (f'{prefix}bias',), 'o -> o'),
  ]
  return tuple(table)


def _prefix(prefixes: Iterable[str], leaf: str, names: set[str]) -> str:
  """Returns the prefix in use; the first if it cannot be told."""
  prefixes = tuple(prefixes)
  return next((p for p in prefixes if f'{p}{leaf}' in names), prefixes[0])


def _text_rows(config: Mapping[str, Any], prefix: str) -> list[Row]:
  cfg = paligemma_config.gemma_config(config)
  table = [
    (
      'llm/embedder/input_embedding',
      (f'{prefix}embed_tokens.weight',),
      'v c -> v c',
    ),
    ('llm/final_norm/scale', (f'{prefix}norm.weight',), 'c -> c'),
  ]
  if cfg.num_heads == cfg.num_kv_heads:
    fused = [('attn/qkv_einsum/w', ('q', 'k', 'v'))]
  else:
    fused = [('attn/q_einsum/w', ('q',)), ('attn/kv_einsum/w', ('k', 'v'))]
  block = [
    (
      name,
      tuple(f'self_attn.{p}_proj.weight' for p in parts),
      '(k d) c -> k c d' if len(parts) == 1 else 'p (k d) c -> p k c d',
    )
    for name, parts in fused
  ]
  block += [
    (
      'attn/attn_vec_einsum/w',
      ('self_attn.o_proj.weight',),
      'c (k d) -> k d c',
    ),
    (
      'mlp/gating_einsum',
      ('mlp.gate_proj.weight', 'mlp.up_proj.weight'),
      'p m c -> p c m',
    ),
    ('mlp/linear', ('mlp.down_proj.weight',), 'c m -> m c'),
  ]
  norms = {
    'pre_attention_norm': 'input_layernorm',
    'pre_ffw_norm': 'post_attention_layernorm',
  }
  if cfg.post_norms:
    # Their post_attention_layernorm is what its name says in Gemma 2 alone.
    norms = {
      'pre_attention_norm': 'input_layernorm',
      'post_attention_norm': 'post_attention_layernorm',
      'pre_ffw_norm': 'pre_feedforward_layernorm',
      'post_ffw_norm': 'post_feedforward_layernorm',
    }
  block += [
    (f'{ours}/scale', (f'{name}.weight',), 'c -> c')
    for ours, name in norms.items()
  ]
  return table + _numbered(
    block, 'llm/layers_', f'{prefix}layers.', cfg.num_layers
  )


def _vision_rows(config: Mapping[str, Any], prefix: str) -> list[Row]:
  def pair(ours: str, theirs: str, kernel: str, bias: str) -> list[Row]:
    return [
      (f'{ours}/kernel', (f'{theirs}.weight',), kernel),
      (f'{ours}/bias', (f'{theirs}.bias',), bias),
    ]

  def norm(ours: str, theirs: str) -> list[Row]:
    return [
      (f'{ours}/scale', (f'{theirs}.weight',), 'c -> c'),
      (f'{ours}/bias', (f'{theirs}.bias',), 'c -> c'),
    ]

  attention = 'MultiHeadDotProductAttention_0'
  block = norm('LayerNorm_0', 'layer_norm1') + norm(
    'LayerNorm_1', 'layer_norm2'
  )
  for name in ('query', 'key', 'value'):
    block += pair(
      f'{attention}/{name}',
      f'self_attn.{name[0]}_proj',
      '(h e) c -> c h e',
      '(h e) -> h e',
    )
  block += pair(
    f'{attention}/out', 'self_attn.out_proj', 'c (h e) -> h e c', 'c -> c'
  )
  for i in range(2):
    block += pair(
      f'MlpBlock_0/Dense_{i}', f'mlp.fc{i + 1}', 'o i -> i o', 'o -> o'
    )
  top = pair(
    'img/embedding',
    f'{prefix}embeddings.patch_embedding',
    'c rgb y x -> y x rgb c',
    'c -> c',
  )
  top.append(
    (
      'img/pos_embedding',
      (f'{prefix}embeddings.position_embedding.weight',),
      'n c -> 1 n c',
    )
  )
  top += norm('img/Transformer/encoder_norm', f'{prefix}post_layernorm')
  return top + _numbered(
    block,
    'img/Transformer/encoderblock_',
    f'{prefix}encoder.layers.',
    paligemma_config.vision_config(config)['num_hidden_layers'],
  )


def _numbered(
  block: list[Row], ours: str, theirs: str, depth: int
) -> list[Row]:
  return [
    (f'{ours}{i}/{name}', tuple(f'{theirs}{i}.{n}' for n in names), axes)
    for i in range(depth)
    for name, names, axes in block
  ]
