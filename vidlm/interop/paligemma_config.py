"""The config.json of PaliGemma, Gemma and Gemma 2 <-> our models' fields."""

from collections.abc import Mapping
from typing import Any

from vidlm.interop import siglip_names
from vidlm.nn.gemma_config import GemmaConfig

# transformers' defaults, which a config.json leaves out.
_GEMMA = {
  'vocab_size': 256_000,
  'hidden_size': 3072,
  'intermediate_size': 24_576,
  'num_hidden_layers': 28,
  'num_attention_heads': 16,
  'num_key_value_heads': 16,
  'head_dim': 256,
  'rms_norm_eps': 1e-6,
  'attention_bias': False,
}
_GEMMA2 = {
  **_GEMMA,
  'hidden_size': 2304,
  'intermediate_size': 9216,
  'num_hidden_layers': 26,
  'num_attention_heads': 8,
  'num_key_value_heads': 4,
  'query_pre_attn_scalar': 256,
  'sliding_window': 4096,
  'final_logit_softcapping': 30.0,
  'attn_logit_softcapping': 50.0,
}
_VISION = {
  'hidden_size': 1152,
  'intermediate_size': 4304,
  'num_hidden_layers': 27,
  'num_attention_heads': 16,
  'patch_size': 14,
  'image_size': 224,
}
# Gemma's first release says 'gelu' and means its tanh approximation.
_ACTIVATIONS = ('gelu_pytorch_tanh', 'gelu')


def gemma_config(config: Mapping[str, Any], **overrides: Any) -> GemmaConfig:
  """Reads the language model of a config.json.

  Args:
    config: PaliGemma's (its `text_config` is taken), Gemma's or Gemma 2's.
    **overrides: Other fields of `GemmaConfig`, such as `dtype`.

  Returns:
    The sizes.

  Raises:
    ValueError: If it is another model, or a Gemma we don't compute.
  """
  text = config.get('text_config', config)
  kind = text.get('model_type', 'gemma')
  if kind not in ('gemma', 'gemma2'):
    raise ValueError(
      f'config.json: model_type {kind!r}; only gemma and gemma2 are known here.'
    )
  second = kind == 'gemma2'
  text = {**(_GEMMA2 if second else _GEMMA), **text}
  _check_text(text, second)
  rope = text.get('rope_parameters') or {}
  fields = {
    'vocab_size': text['vocab_size'],
    'emb_dim': text['hidden_size'],
    'num_layers': text['num_hidden_layers'],
    'mlp_dim': text['intermediate_size'],
    'num_heads': text['num_attention_heads'],
    'num_kv_heads': text['num_key_value_heads'],
    'head_dim': text['head_dim'],
    'rope_max_wavelength': float(
      rope.get('rope_theta', text.get('rope_theta', 10_000.0))
    ),
    'norm_epsilon': text['rms_norm_eps'],
  }
  if second:
    fields |= {
      'query_scale': text['query_pre_attn_scalar'] ** -0.5,
      'post_norms': True,
      'attn_logit_cap': text['attn_logit_softcapping'] or 0.0,
      'final_logit_cap': text['final_logit_softcapping'] or 0.0,
      'sliding_window': text['sliding_window'] or 0,
    }
  return GemmaConfig(**{**fields, **overrides})


def _check_text(text: Mapping[str, Any], second: bool) -> None:
  activation = text.get('hidden_activation') or text.get('hidden_act', 'gelu')
  if activation not in _ACTIVATIONS:
    raise ValueError(f"config.json: activation {activation!r} is not Gemma's.")
  if text['attention_bias']:
    raise ValueError('config.json: attention_bias; Gemma has none.')
  kinds = text.get('layer_types')
  pattern = ['sliding_attention', 'full_attention']
  if second and kinds is not None:
    wanted = [pattern[i % 2] for i in range(text['num_hidden_layers'])]
    if list(kinds) != wanted:
      raise ValueError(
        'config.json: layer_types do not alternate from sliding_attention on, '
        'as Gemma 2 has them.'
      )


def vision_config(config: Mapping[str, Any]) -> dict[str, Any]:
  """Reads the image tower of a PaliGemma's config.json, defaults filled in.

  Raises:
    ValueError: If its arithmetic is not our ViT's.
  """
  return siglip_names.vision_config({**_VISION, **config['vision_config']})


def model_fields(config: Mapping[str, Any], **overrides: Any) -> dict[str, Any]:
  """Returns `llm_config`, `variant` and `image_size` of a `VideoVLM`.

  Args:
    config: A PaliGemma's config.json.
    **overrides: Fields of `GemmaConfig`.

  Returns:
    Keyword arguments.
  """
  vision = vision_config(config)
  return {
    'llm_config': gemma_config(config, **overrides),
    'variant': siglip_names.variant(vision),
    'image_size': vision['image_size'],
  }


def to_config(
  llm: GemmaConfig, variant: str, image_size: int
) -> dict[str, Any]:
  """Returns the config.json of a PaliGemma of these sizes.

  Args:
    llm: Sizes of the language model.
    variant: Name of the ViT, see `vit.decode_variant`.
    image_size: Pixels of a side.

  Returns:
    JSON values that `model_fields` reads back.
  """
  vision = siglip_names.to_config(variant, image_size, pooled=False)
  return {
    'architectures': ['PaliGemmaForConditionalGeneration'],
    'model_type': 'paligemma',
    'bos_token_id': 2,
    'eos_token_id': 1,
    'pad_token_id': 0,
    'image_token_index': 257_152,  # the first row that no token uses
    'hidden_size': llm.emb_dim,
    'projection_dim': llm.emb_dim,
    'text_config': _text_config(llm),
    'vision_config': {**vision, 'projection_dim': llm.emb_dim},
  }


def to_text_config(llm: GemmaConfig) -> dict[str, Any]:
  """Returns the config.json of a Gemma alone."""
  name = 'Gemma2' if llm.post_norms else 'Gemma'
  return {
    'architectures': [f'{name}ForCausalLM'],
    'bos_token_id': 2,
    'eos_token_id': 1,
    'pad_token_id': 0,
    **_text_config(llm),
  }


def _text_config(llm: GemmaConfig) -> dict[str, Any]:
  extra = ('query_scale', 'attn_logit_cap', 'final_logit_cap', 'sliding_window')
  found = [name for name in extra if getattr(llm, name)]
  if found and not llm.post_norms:
    raise ValueError(
      f'{", ".join(found)} without post_norms: Gemma 1 of transformers has none'
    )
  text: dict[str, Any] = {
    'model_type': 'gemma2' if llm.post_norms else 'gemma',
    'vocab_size': llm.vocab_size,
    'hidden_size': llm.emb_dim,
    'intermediate_size': llm.mlp_dim,
    'num_hidden_layers': llm.num_layers,
    'num_attention_heads': llm.num_heads,
    'num_key_value_heads': llm.num_kv_heads,
    'head_dim': llm.head_dim,
    'rms_norm_eps': llm.norm_epsilon,
    'rope_theta': llm.rope_max_wavelength,
  }
  if llm.post_norms:
    scale = llm.query_scale or llm.head_dim**-0.5
    text |= {
      'query_pre_attn_scalar': round(scale**-2),
      'attn_logit_softcapping': llm.attn_logit_cap or None,
      'final_logit_softcapping': llm.final_logit_cap or None,
      'sliding_window': llm.sliding_window,
    }
  return text
