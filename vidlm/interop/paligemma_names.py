"""PaliGemma and Gemma in Hugging Face's names <-> ours, which are big_vision's.

Source of the names: transformers, `models/{paligemma,gemma,gemma2,siglip}`, and
the checkpoints on its hub; google-research/big_vision, `models/ppp/gemma.py`.
The vision tower is SigLIP's.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from vidlm.interop import mapping, paligemma_config, siglip_names
from vidlm.interop.leaves import Leaf
from vidlm.nn.gemma_config import GemmaConfig

# Prefixes of checkpoints on the hub (kept by `save_pretrained`), then of
# modules in transformers 4.52 and after.
_TEXT = ('language_model.model.', 'model.language_model.')
_TEXT_ALONE = ('model.',)
_VISION = (
  'vision_tower.vision_model.',
  'vision_tower.',
  'model.vision_tower.vision_model.',
  'model.vision_tower.',
)
_PROJECTOR = (
  'multi_modal_projector.linear.',
  'model.multi_modal_projector.linear.',
)
# The output layer is the table of tokens; some files hold it once more.
_COPIES = (r'(.*\.)?lm_head\.weight', r'.*\.position_ids', r'.*\.inv_freq')
# The pooling head, which nothing of a VLM sees.
_HEAD = (r'(model\.)?vision_tower\.(vision_model\.)?head\..*',)

# Their post_attention_layernorm is what its name says in Gemma 2 alone.
_NORMS = {
  'pre_attention_norm': 'input_layernorm',
  'pre_ffw_norm': 'post_attention_layernorm',
}
_NORMS2 = {
  'pre_attention_norm': 'input_layernorm',
  'post_attention_norm': 'post_attention_layernorm',
  'pre_ffw_norm': 'pre_feedforward_layernorm',
  'post_ffw_norm': 'post_feedforward_layernorm',
}


def read_table(
  config: Mapping[str, Any], theirs: Mapping[str, Leaf]
) -> mapping.Table:
  """Returns the table that reads a PaliGemma.

  Args:
    config: Its config.json.
    theirs: Its tensors, whose names tell the prefixes.

  Raises:
    ValueError: If it is not computed as ours is.
  """
  _check_tied(config, theirs)
  fields = paligemma_config.model_fields(config)
  return table(
    fields['llm_config'], fields['variant'], fields['image_size'], theirs
  )


def read_text_table(
  config: Mapping[str, Any], theirs: Mapping[str, Leaf]
) -> mapping.Table:
  """Returns the table of a Gemma alone; our names have no 'llm/' then."""
  _check_tied(config, theirs)
  return text_table(paligemma_config.gemma_config(config))


def table(
  llm: GemmaConfig, variant: str, image_size: int, theirs: Iterable[str] = ()
) -> mapping.Table:
  """Returns all rows of a PaliGemma.

  Args:
    llm: Sizes of the language model.
    variant: Name of the ViT, see `vit.decode_variant`.
    image_size: Pixels of a side.
    theirs: Their names, which tell the prefixes; by default the hub's.
  """
  theirs = set(theirs)
  text = _prefix(_TEXT, 'norm.weight', theirs)
  vision = _prefix(_VISION, 'post_layernorm.weight', theirs)
  tower = siglip_names.table(variant, image_size, vision, pooled=False)
  projector = mapping.rows(
    [
      ('img/head/kernel', 'weight', 'o c -> c o'),
      ('img/head/bias', 'bias', 'o -> o'),
    ],
    '',
    _prefix(_PROJECTOR, 'weight', theirs),
    o=llm.emb_dim,
  )
  entries = (
    *_text_rows(llm, 'llm/', text),
    *(dataclasses.replace(e, ours=f'img/{e.ours}') for e in tower.entries),
    *projector,
  )
  return mapping.Table(entries, _COPIES, _HEAD)


def text_table(llm: GemmaConfig) -> mapping.Table:
  """Returns all rows of a Gemma alone."""
  return mapping.Table(tuple(_text_rows(llm, '', *_TEXT_ALONE)), _COPIES)


def _check_tied(config: Mapping[str, Any], theirs: Iterable[str]) -> None:
  text = config.get('text_config', config)
  tied = text.get('tie_word_embeddings', True)
  if not (tied and config.get('tie_word_embeddings', True)) and any(
    name.endswith('lm_head.weight') for name in theirs
  ):
    raise ValueError(
      'config.json: tie_word_embeddings is off; the output layer of a Gemma '
      'here is its table of tokens'
    )


def _prefix(prefixes: Iterable[str], leaf: str, names: set[str]) -> str:
  """Returns the prefix in use; the first if it can't be told."""
  prefixes = tuple(prefixes)
  return next((p for p in prefixes if f'{p}{leaf}' in names), prefixes[0])


def _text_rows(llm: GemmaConfig, ours: str, theirs: str) -> list[mapping.Entry]:
  sizes = {
    'v': llm.vocab_size,
    'c': llm.emb_dim,
    'm': llm.mlp_dim,
    'k': llm.num_heads,
    'g': llm.num_kv_heads,
    'd': llm.head_dim,
  }
  top = [
    ('embedder/input_embedding', 'embed_tokens.weight', 'v c -> v c'),
    ('final_norm/scale', 'norm.weight', 'c -> c'),
  ]
  block = [*_attention(llm), *_mlp()]
  block += [
    (f'{name}/scale', f'{other}.weight', 'c -> c')
    for name, other in (_NORMS2 if llm.post_norms else _NORMS).items()
  ]
  entries = mapping.rows(top, ours, theirs, **sizes)
  for i in range(llm.num_layers):
    entries += mapping.rows(
      block, f'{ours}layers_{i}/', f'{theirs}layers.{i}.', **sizes
    )
  return entries


def _attention(llm: GemmaConfig) -> list[mapping.Row]:
  q, k, v = (f'self_attn.{p}_proj.weight' for p in 'qkv')
  out = (
    'attn/attn_vec_einsum/w',
    'self_attn.o_proj.weight',
    'c (k d) -> k d c',
  )
  if llm.num_heads == llm.num_kv_heads:
    return [('attn/qkv_einsum/w', (q, k, v), 'p (k d) c -> p k c d'), out]
  return [
    ('attn/q_einsum/w', q, '(k d) c -> k c d'),
    ('attn/kv_einsum/w', (k, v), 'p (g d) c -> p g c d'),
    out,
  ]


def _mlp() -> list[mapping.Row]:
  return [
    (
      'mlp/gating_einsum',
      ('mlp.gate_proj.weight', 'mlp.up_proj.weight'),
      'p m c -> p c m',
    ),
    ('mlp/linear', 'mlp.down_proj.weight', 'c m -> m c'),
  ]
