"""T5 1.1 and its kin in Hugging Face's names.

T5, Flan-T5, UL2, Flan-UL2 (`T5ForConditionalGeneration`), mT5
(`MT5ForConditionalGeneration`) and umT5 (`UMT5ForConditionalGeneration`).
Source of the names: transformers, `models/t5/modeling_t5.py`; of the pairs: its
converter from t5x.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from vidlm.interop import mapping
from vidlm.interop.leaves import Leaf
from vidlm.nn.t5_config import T5Config

# Of a config.json: fields left out there have the class's default.
_DEFAULTS: dict[str, dict[str, Any]] = {
  't5': {
    'vocab_size': 32128,
    'd_model': 512,
    'd_kv': 64,
    'd_ff': 2048,
    'num_layers': 6,
    'num_heads': 8,
    'relative_attention_num_buckets': 32,
    'relative_attention_max_distance': 128,
    'layer_norm_epsilon': 1e-6,
    'feed_forward_proj': 'relu',
  },
}
_DEFAULTS['mt5'] = {
  **_DEFAULTS['t5'],
  'vocab_size': 250112,
  'd_ff': 1024,
  'num_layers': 8,
  'num_heads': 6,
  'feed_forward_proj': 'gated-gelu',
}
_DEFAULTS['umt5'] = _DEFAULTS['mt5']
_CLASSES = {
  't5': 'T5ForConditionalGeneration',
  'umt5': 'UMT5ForConditionalGeneration',
}
# Their activation: ours. T5 1.1's 'gelu' is the tanh approximation.
_ACTIVATIONS = {
  'relu': ('relu',),
  'gated-gelu': ('gelu', 'linear'),
  'gated-silu': ('silu', 'linear'),
  'gated-relu': ('relu', 'linear'),
}
_ATTENTION = (
  ('query/kernel', 'q.weight', 'j c -> c j'),
  ('key/kernel', 'k.weight', 'j c -> c j'),
  ('value/kernel', 'v.weight', 'j c -> c j'),
  ('out/kernel', 'o.weight', 'c j -> j c'),
)
_RELPOS = 'SelfAttention.relative_attention_bias.weight'
# Our module and their sublayers of a layer: (module, its norm, their module).
_SUBLAYERS = {
  'encoder': (('attention', 'pre_attention_layer_norm', 'SelfAttention'),),
  'decoder': (
    ('self_attention', 'pre_self_attention_layer_norm', 'SelfAttention'),
    (
      'encoder_decoder_attention',
      'pre_cross_attention_layer_norm',
      'EncDecAttention',
    ),
  ),
}
# Copies of shared.weight.
_COPIES = (r'(en|de)coder\.embed_tokens\.weight',)
# The first T5s have a table that no code reads.
_UNUSED = (
  r'decoder\.block\.0\.layer\.1\.EncDecAttention\.'
  r'relative_attention_bias\.weight',
)


def model_config(config: Mapping[str, Any], **options: Any) -> T5Config:
  """Returns sizes of a model from its config.json.

  Args:
    config: The parsed config.json.
    **options: Further fields of `T5Config`, such as `dtype`.

  Returns:
    The sizes; `logits_via_embedding` as config.json says, which a checkpoint
    with untied logits may overrule (see `is_tied`).

  Raises:
    ValueError: If the architecture differs from ours in its arithmetic.
  """
  config = _complete(config)
  return T5Config(
    vocab_size=config['vocab_size'],
    emb_dim=config['d_model'],
    num_heads=config['num_heads'],
    head_dim=config['d_kv'],
    num_encoder_layers=config['num_layers'],
    num_decoder_layers=config.get('num_decoder_layers') or config['num_layers'],
    mlp_dim=config['d_ff'],
    mlp_activations=_ACTIVATIONS[config['feed_forward_proj']],
    logits_via_embedding=scales_logits(config),
    relpos_buckets=config['relative_attention_num_buckets'],
    relpos_max_distance=config['relative_attention_max_distance'],
    relpos_per_layer=config.get('model_type') == 'umt5',
    **options,
  )


def _complete(config: Mapping[str, Any]) -> dict[str, Any]:
  kind = config.get('model_type', 't5')
  config = {**_DEFAULTS.get(kind, _DEFAULTS['t5']), **config}
  if config['layer_norm_epsilon'] != 1e-6:
    raise ValueError(
      f'config.json: layer_norm_epsilon {config["layer_norm_epsilon"]}, this '
      'T5 computes with 1e-6'
    )
  if config['feed_forward_proj'] not in _ACTIVATIONS:
    raise ValueError(
      f'config.json: feed_forward_proj {config["feed_forward_proj"]!r} is not '
      f'one of {sorted(_ACTIVATIONS)}'
    )
  return config


def scales_logits(config: Mapping[str, Any]) -> bool:
  """Returns whether hidden states are scaled by d_model^-0.5 before the logits.

  Hugging Face ties this to `tie_word_embeddings`; its version 5 writes the
  answer as `scale_decoder_outputs` and always says that it ties. mT5 is T5 1.1:
  it never scales. For umT5 version 5 scales untied logits too, which changes
  their temperature but no greedy text; here they are as T5X has them.
  """
  if config.get('model_type') == 'mt5':
    return False
  tied = config.get('tie_word_embeddings', True)
  return bool(config.get('scale_decoder_outputs', tied))


def to_config(model: T5Config) -> dict[str, Any]:
  """Returns the config.json of a model; the inverse of `model_config`.

  Raises:
    ValueError: If Hugging Face has no name for its activations.
  """
  names = {ours: name for name, ours in _ACTIVATIONS.items()}
  activations = tuple(model.mlp_activations)
  if activations not in names:
    raise ValueError(
      f'mlp_activations {activations} have no name in Hugging Face; it has '
      f'{sorted(names)}'
    )
  kind = 'umt5' if model.relpos_per_layer else 't5'
  return {
    'architectures': [_CLASSES[kind]],
    'model_type': kind,
    'vocab_size': model.vocab_size,
    'd_model': model.emb_dim,
    'd_kv': model.head_dim,
    'd_ff': model.mlp_dim,
    'num_layers': model.num_encoder_layers,
    'num_decoder_layers': model.num_decoder_layers,
    'num_heads': model.num_heads,
    'relative_attention_num_buckets': model.relpos_buckets,
    'relative_attention_max_distance': model.relpos_max_distance,
    'layer_norm_epsilon': 1e-6,
    'feed_forward_proj': names[activations],
    'dropout_rate': model.dropout_rate,
    'tie_word_embeddings': model.logits_via_embedding,
    'is_encoder_decoder': True,
    'use_cache': True,
    'decoder_start_token_id': 0,
    'pad_token_id': 0,
    'eos_token_id': 1,
  }


def table(model: T5Config, logits: str = 'lm_head.weight') -> mapping.Table:
  """Returns rows of a model.

  Args:
    model: Its sizes.
    logits: Their tensor of untied logits.

  Returns:
    The table.
  """
  gates = len(model.mlp_activations)
  inner = ['wi'] if gates == 1 else [f'wi_{i}' for i in range(gates)]
  mlp = [(f'mlp/{w}/kernel', f'{w}.weight', 'm c -> c m') for w in inner]
  mlp.append(('mlp/wo/kernel', 'wo.weight', 'c m -> m c'))
  sizes: dict[str, Any] = {
    'c': model.emb_dim,
    'j': model.num_heads * model.head_dim,
    'k': model.num_heads,
    'm': model.mlp_dim,
    'b': model.relpos_buckets,
    'v': model.vocab_size,
  }
  top = [('token_embedder/embedding', 'shared.weight', 'v c -> v c')]
  ignored: tuple[str, ...] = _COPIES
  if model.logits_via_embedding:
    ignored = (*ignored, r'lm_head\.weight')
  else:
    top.append(('decoder/logits_dense/kernel', logits, 'v c -> c v'))
  entries = mapping.rows(top, **sizes)
  for side, depth in (
    ('encoder', model.num_encoder_layers),
    ('decoder', model.num_decoder_layers),
  ):
    entries += _side(side, depth, mlp, sizes)
    entries += _positions(side, depth if model.relpos_per_layer else 0, sizes)
  return mapping.Table(tuple(entries), ignored, _UNUSED)


def _side(
  side: str, depth: int, mlp: list[mapping.Row], sizes: dict[str, int]
) -> list[mapping.Entry]:
  entries = mapping.rows(
    [(f'{side}_norm/scale', 'final_layer_norm.weight', 'c -> c')],
    f'{side}/',
    f'{side}.',
    **sizes,
  )
  for i in range(depth):
    ours, theirs = f'{side}/layers_{i}/', f'{side}.block.{i}.layer.'
    for j, (module, norm, name) in enumerate(_SUBLAYERS[side]):
      entries += mapping.rows(
        [(f'{norm}/scale', 'layer_norm.weight', 'c -> c')],
        ours,
        f'{theirs}{j}.',
        **sizes,
      )
      entries += mapping.rows(
        _ATTENTION, f'{ours}{module}/', f'{theirs}{j}.{name}.', **sizes
      )
    last = f'{theirs}{len(_SUBLAYERS[side])}.'
    entries += mapping.rows(
      [('pre_mlp_layer_norm/scale', 'layer_norm.weight', 'c -> c')],
      ours,
      last,
      **sizes,
    )
    entries += mapping.rows(mlp, ours, f'{last}DenseReluDense.', **sizes)
  return entries


def _positions(
  side: str, depth: int, sizes: dict[str, int]
) -> list[mapping.Entry]:
  """Returns the table of a stack, or those of so many layers."""
  places = [f'layers_{i}/' for i in range(depth)] or ['']
  return [
    entry
    for i, place in enumerate(places)
    for entry in mapping.rows(
      [(f'{place}relpos_bias/rel_embedding', _RELPOS, 'b k -> k b')],
      f'{side}/',
      f'{side}.block.{i}.layer.0.',
      **sizes,
    )
  ]


def read_table(
  config: Mapping[str, Any], theirs: Mapping[str, Leaf]
) -> mapping.Table:
  """Returns the table that reads a folder.

  Args:
    config: Its config.json.
    theirs: Its tensors.

  Returns:
    The table. Without tensor of their own, unscaled logits are read from the
    token table.

  Raises:
    ValueError: If config.json and the tensors contradict each other.
  """
  model = model_config(config)
  own = theirs.get('lm_head.weight')
  if not model.logits_via_embedding:
    return table(model, 'lm_head.weight' if own else 'shared.weight')
  if own is not None and not _equal(own, theirs.get('shared.weight')):
    raise ValueError(
      'config.json ties the logits to the token table, but lm_head.weight is '
      'another; set "tie_word_embeddings": false there if it was trained so'
    )
  return table(model)


def _equal(one: Leaf, other: Leaf | None) -> bool:
  return other is not None and np.array_equal(one.load(), other.load())
